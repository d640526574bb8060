"""What the managers have told this node, besides its tasks: secrets, configs, networks, facts.

Secrets, configs and keys are only ever in memory here; see `files` for what containers see of them.
"""

from __future__ import annotations

from typing import Final

import msgspec
import trio

from services.cluster.dispatcher.values import Assignments, NetworkView, SessionFacts
from services.cluster.model.objects import ClusterNetwork, Config, NetworkKey, Node, Secret
from services.cluster.model.task_spec import LogDriver

PREDEFINED_LABEL: Final = "com.docker.swarm.predefined"


def is_predefined(network: ClusterNetwork) -> bool:
    """Whether it stands for a network that each node has of its own."""
    is_marked = network.spec.labels.get(PREDEFINED_LABEL) == "true"
    return is_marked or network.spec.driver in ("host", "null")


class Kept(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What of it is on disk, so that tasks go on while no manager can be reached."""

    networks: list[NetworkView] = []
    node: Node | None = None
    default_log_driver: LogDriver | None = None


class Holdings:
    """Replaced piece by piece as messages come.

    Attributes:
        secrets, configs, networks: by id.
        network_keys: for encrypted networks; None before a manager has told them.
        node: this node as the managers know it; None before the first word of them.
    """

    def __init__(self) -> None:
        self.secrets: dict[str, Secret] = {}
        self.configs: dict[str, Config] = {}
        self.networks: dict[str, NetworkView] = {}
        self.network_keys: tuple[NetworkKey, ...] | None = None
        self.node: Node | None = None
        self.default_log_driver: LogDriver | None = None
        self._changed = trio.Event()
        self._is_told = trio.Event()

    def take(self, told: Assignments) -> bool:
        """Take over what a message says. Whether the networks or their keys are others now."""
        before = self.networks, self.network_keys
        if told.is_complete:
            self.secrets, self.configs, self.networks = {}, {}, {}
            self._is_told.set()
        if told.is_complete or told.network_keys is not None:
            self.network_keys = told.network_keys or ()
        self.secrets.update((one.id, one) for one in told.secrets)
        self.configs.update((one.id, one) for one in told.configs)
        self.networks = {
            **{i: view for i, view in self.networks.items() if i not in told.removed_networks},
            **{view.network.id: view for view in told.networks},
        }
        for removed in told.removed_secrets:
            self.secrets.pop(removed, None)
        for removed in told.removed_configs:
            self.configs.pop(removed, None)
        self._tell_changed()
        return (self.networks, self.network_keys) != before

    def take_facts(self, facts: SessionFacts) -> bool:
        """Take over what a manager says of the cluster. Whether what is kept is different now."""
        before = self.kept()
        self.node, self.default_log_driver = facts.node, facts.default_log_driver
        self._tell_changed()
        return self.kept() != before

    def restore(self, kept: Kept) -> None:
        """Begin with what an earlier engine knew."""
        self.networks = {view.network.id: view for view in kept.networks}
        self.node, self.default_log_driver = kept.node, kept.default_log_driver

    def kept(self) -> Kept:
        """What goes to disk; keys of encrypted networks do not."""
        return Kept(
            networks=list(self.networks.values()),
            node=self.node,
            default_log_driver=self.default_log_driver,
        )

    def spanning_networks(self) -> tuple[NetworkView, ...]:
        """Without those that only stand for one that each node has of its own, as host."""
        return tuple(v for v in self.networks.values() if not is_predefined(v.network))

    def cluster_networks(self) -> dict[str, ClusterNetwork]:
        """The networks themselves, by id."""
        return {network_id: view.network for network_id, view in self.networks.items()}

    async def wait_told(self) -> None:
        """Block until a manager has told everything for the first time."""
        await self._is_told.wait()

    async def wait_changed(self) -> None:
        """Block until something else was told."""
        await self._changed.wait()

    def _tell_changed(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
