"""The cluster's own settings, its join tokens and its unlock key.

Source: swarmkit, manager/controlapi/cluster.go; moby, daemon/cluster/swarm.go.
"""

from __future__ import annotations

from msgspec.structs import replace

from services.cluster.control.changes import at_version, commit, seen, touched
from services.cluster.control.ports import Authority, ControlStore
from services.cluster.model.objects import Cluster, JoinTokens, RootCa
from services.cluster.model.snapshot import Put
from services.cluster.model.specs import CaConfig, SwarmSpec
from services.cluster.requests import Rotations, checked_spec


class Swarm:
    """Operations on the cluster as a whole."""

    def __init__(self, store: ControlStore, authority: Authority) -> None:
        self._store, self._authority = store, authority

    def get(self) -> Cluster:
        """The cluster's object, secrets and all: what is answered is picked from it."""
        return self._store.snapshot().cluster

    def join_tokens(self) -> JoinTokens:
        """As users hand them on."""
        return self._authority.join_tokens(self.get().root_ca)

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
        root = self._with_tokens(cluster.root_ca, rotations)
        changed = replace(
            cluster,
            spec=wanted,
            root_ca=self._with_root(root, spec.ca_config),
            unlock_key=self._unlock_key(cluster, wanted, rotations),
        )
        await commit(self._store, Put(touched(changed)))

    def _with_tokens(self, root: RootCa, rotations: Rotations) -> RootCa:
        tokens = root.join_tokens
        if rotations.worker_token:
            tokens = replace(tokens, worker=self._authority.new_token_secret())
        if rotations.manager_token:
            tokens = replace(tokens, manager=self._authority.new_token_secret())
        return replace(root, join_tokens=tokens)

    def _with_root(self, root: RootCa, config: CaConfig) -> RootCa:
        """The root, with its replacement begun if that is asked for once more, or for another."""
        is_other = bool(config.signing_ca_cert) and config.signing_ca_cert != root.certificate
        if config.force_rotate == root.last_forced_rotation and not is_other:
            return root
        rotated = self._authority.rotated(root, config)
        return replace(rotated, last_forced_rotation=config.force_rotate)

    def _unlock_key(self, cluster: Cluster, spec: SwarmSpec, rotations: Rotations) -> str:
        if not spec.encryption_config.auto_lock_managers:
            return ""
        if cluster.unlock_key and not rotations.unlock_key:
            return cluster.unlock_key
        return self._authority.new_unlock_key()
