"""The cluster's published ports on this node: each leads to the ingress namespace."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, Protocol

from services.cluster.network.targets import IngressPort
from services.errors import EngineError
from services.networks import PortRequest, PublishedPort
from services.networks.firewall.network_rules import PortTargets, Target

OWNER: Final = "ingress/"
"""What owners' names begin with; protocol and number follow."""


class Publisher(Protocol):
    """What is needed of the engine's published ports."""

    def owned(self, prefix: str) -> Mapping[str, tuple[PortTargets, tuple[PublishedPort, ...]]]:
        """What owners have whose names begin so, and where it leads."""

    async def reserve(
        self, owner: str, targets: PortTargets, requests: Sequence[PortRequest], /
    ) -> tuple[PublishedPort, ...]:
        """Reserve ports on the host. Raises EngineError when one is taken."""

    async def publish(self, owner: str, targets: PortTargets | None = None) -> None:
        """Lead them. Raises EngineError."""

    async def release(self, owner: str) -> None:
        """Let others have them."""


class PublishedIngress:
    """Which of the engine's published ports are the cluster's."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    @property
    def ports(self) -> dict[str, tuple[PublishedPort, ...]]:
        """What there is, by owner."""
        return {owner: ports for owner, (_, ports) in self._publisher.owned(OWNER).items()}

    async def have(
        self, ports: Collection[IngressPort], target: Target | None
    ) -> dict[IngressPort, str]:
        """Have these ports and no others lead to `target`; why not, for those that do not.

        A port that somebody else on the host has is tried again by the next call.
        """
        wanted = {_owner(port): port for port in sorted(ports)} if target is not None else {}
        for owner in self._publisher.owned(OWNER).keys() - wanted.keys():
            await self._publisher.release(owner)
        problems: dict[IngressPort, str] = {}
        for owner, port in wanted.items():
            try:
                await self._lead(owner, port, PortTargets(ipv4=target))
            except EngineError as error:
                await self._publisher.release(owner)
                problems[port] = f"port {port.number}/{port.protocol} is not published: {error}"
        return problems

    async def _lead(self, owner: str, port: IngressPort, targets: PortTargets) -> None:
        present = self._publisher.owned(owner).get(owner)
        if present is None:
            number = port.number
            request = PortRequest(
                protocol=port.protocol, container_port=number, first=number, last=number
            )
            await self._publisher.reserve(owner, targets, [request])
            await self._publisher.publish(owner)
        elif present[0] != targets:
            await self._publisher.publish(owner, targets)


def _owner(port: IngressPort) -> str:
    return f"{OWNER}{port.protocol}/{port.number}"
