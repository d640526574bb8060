"""What an agent speaks to of its node's networking: it shows what there is, and waits for it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from services.cluster.dispatcher.values import NetworkView, SessionFacts
from services.cluster.model.objects import NetworkKey
from services.cluster.network.node_network import NodeNetwork
from services.cluster.network.state import NodeNetworkState


class NodeNetworks:
    """A node of one cluster. What the node knows of itself at its start may be told better later.

    `data_path_addr` is bare. Until something is shown nothing is changed: what an earlier daemon
    had made goes on.
    """

    def __init__(
        self, network: NodeNetwork, *, node_id: str, data_path_addr: str, data_path_port: int = 4789
    ) -> None:
        self._network = network
        self._node_id = node_id
        self._data_path_addr = data_path_addr
        self._data_path_port = data_path_port
        self._views: tuple[NetworkView, ...] | None = None
        self._keys: tuple[NetworkKey, ...] | None = None

    def learn(self, facts: SessionFacts) -> None:
        """The managers say who the node is. An address that they do not know stays as it was."""
        self._node_id = facts.node.id
        self._data_path_addr = facts.node.data_path_addr or self._data_path_addr
        self._data_path_port = facts.data_path_port
        self._intend()

    def show(self, views: Sequence[NetworkView], keys: Sequence[NetworkKey] | None = None) -> None:
        """This is what the node is to have; make it so. Does not block.

        `keys` are for encrypted networks; None: no manager has told them since the engine began.
        """
        self._views = tuple(views)
        self._keys = None if keys is None else tuple(keys)
        self._intend()

    async def wait_ready(self, network_ids: Collection[str]) -> None:
        """Block until containers can be put into these networks.

        Raises:
            EngineError: they cannot be made on this node.
        """
        for network_id in network_ids:
            await self._network.wait_network(network_id)

    async def wait_unused(self, container_id: str, *, quiet_s: float, limit_s: float) -> None:
        """Block until nobody has begun a connection to a container for `quiet_s`; not for longer
        than `limit_s`.

        Raises:
            EngineError: it cannot be told.
        """
        await self._network.wait_unused(container_id, quiet_s=quiet_s, limit_s=limit_s)

    async def clear(self) -> None:
        """The node has left: make nothing more, and take away what nobody is in any more."""
        self._views = self._keys = None
        await self._network.clear()

    def _intend(self) -> None:
        if self._views is not None:
            state = NodeNetworkState(
                node_id=self._node_id,
                data_path_addr=self._data_path_addr,
                data_path_port=self._data_path_port,
                networks=self._views,
                keys=self._keys,
            )
            self._network.intend(state)
