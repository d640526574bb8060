"""The cluster's own settings, its join tokens and its unlock key.

Source: swarmkit, manager/controlapi/cluster.go; moby, daemon/cluster/swarm.go.
"""

from __future__ import annotations

from msgspec.structs import replace

from services.cluster.ca.issuing import begun_rotation, join_tokens, with_new_tokens
from services.cluster.ca.tokens import new_unlock_key
from services.cluster.control.changes import at_version, commit, seen, touched
from services.cluster.control.ports import ControlStore
from services.cluster.model.objects import Cluster, JoinTokens
from services.cluster.model.snapshot import Put
from services.cluster.model.swarm_spec import SwarmSpec
from services.cluster.model.wire import utc_now
from services.cluster.requests import Rotations, checked_spec


class Swarm:
    """Operations on the cluster as a whole."""

    def __init__(self, store: ControlStore) -> None:
        self._store = store

    def get(self) -> Cluster:
        """The cluster's object, secrets and all: what is answered is picked from it."""
        return self._store.snapshot().cluster

    def join_tokens(self) -> JoinTokens:
        """As users hand them on."""
        return join_tokens(self.get().root_ca)

    def unlock_key(self) -> str:
        """What managers ask for when they start; "" while they do not lock themselves."""
        cluster = self.get()
        return cluster.unlock_key if cluster.spec.encryption_config.auto_lock_managers else ""

    async def update(self, version: int, spec: SwarmSpec, rotations: Rotations) -> None:
        """Change the settings; draw tokens and keys anew; begin with another root.

        Raises:
            InvalidParameter: the spec cannot be meant.
            OutOfSequence: the cluster is of another version.
        """
        wanted = checked_spec(spec)
        cluster = at_version((await seen(self._store, version)).cluster, version)
        root = with_new_tokens(
            cluster.root_ca, worker=rotations.worker_token, manager=rotations.manager_token
        )
        changed = replace(
            cluster,
            spec=wanted,
            root_ca=begun_rotation(root, spec.ca_config, utc_now()),
            unlock_key=_unlock_key(cluster, wanted, rotations),
        )
        await commit(self._store, Put(touched(changed)))


def _unlock_key(cluster: Cluster, spec: SwarmSpec, rotations: Rotations) -> str:
    if not spec.encryption_config.auto_lock_managers:
        return ""
    if cluster.unlock_key and not rotations.unlock_key:
        return cluster.unlock_key
    return new_unlock_key()
