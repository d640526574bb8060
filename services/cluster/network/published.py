"""The cluster's published ports on this node: each leads to the ingress namespace."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from services.cluster.network.targets import IngressPort
from services.errors import EngineError
from services.networks import PortRequest, PublishedPort
from services.networks.network_rules import PortTargets, Target


class Publisher(Protocol):
    """What is needed of the engine's published ports."""

    async def reserve(
        self, owner: str, targets: PortTargets, requests: Sequence[PortRequest], /
    ) -> tuple[PublishedPort, ...]:
        """Reserve ports on the host. Raises EngineError when one is taken."""

    async def publish(self, owner: str, targets: PortTargets | None = None) -> None:
        """Lead them. Raises EngineError."""

    async def release(self, owner: str) -> None:
        """Let others have them."""


class PublishedIngress:
    """Which ports there are, and where they lead."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._led: dict[IngressPort, Target] = {}

    async def have(
        self, ports: Collection[IngressPort], target: Target | None
    ) -> dict[IngressPort, str]:
        """Have these ports and no others lead to `target`; why not, for those that do not.

        A port that somebody else on the host has is tried again by the next call.
        """
        wanted = frozenset(ports) if target is not None else frozenset()
        for port in sorted(self._led.keys() - wanted):
            await self._release(port)
        problems: dict[IngressPort, str] = {}
        if target is None:
            return problems
        for port in sorted(wanted):
            try:
                await self._lead(port, target)
            except EngineError as error:
                await self._release(port)
                problems[port] = f"port {port.number}/{port.protocol} is not published: {error}"
        return problems

    async def _lead(self, port: IngressPort, target: Target) -> None:
        targets = PortTargets(ipv4=target)
        before = self._led.get(port)
        if before == target:
            return
        if before is None:
            number = port.number
            request = PortRequest(
                protocol=port.protocol, container_port=number, first=number, last=number
            )
            await self._publisher.release(_owner(port))  # what another of our kind had here
            await self._publisher.reserve(_owner(port), targets, [request])
            await self._publisher.publish(_owner(port))
        else:
            await self._publisher.publish(_owner(port), targets)
        self._led[port] = target

    async def _release(self, port: IngressPort) -> None:
        self._led.pop(port, None)
        await self._publisher.release(_owner(port))


def _owner(port: IngressPort) -> str:
    return f"ingress/{port.protocol}/{port.number}"
