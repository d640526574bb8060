"""Checks of networks: bridges and their links, the firewall table, published ports, overlays."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from typing import Protocol

import trio

from services.audit.findings import Finding
from services.networks.endpoints import HOST_LINK_PREFIX
from services.networks.kernel.host_links import bridge_ports
from services.networks.nft.table_listing import Difference
from services.networks.sandboxes.container_links import BridgedLink


class LinkCheck:
    """Each end of a container's link in a bridge of ours belongs to a container that is there."""

    kind = "links"

    def __init__(
        self,
        *,
        bridges: Callable[[], Set[str]],
        wanted: Callable[[], Mapping[str, BridgedLink]],
        disk: trio.CapacityLimiter,
    ) -> None:
        """`bridges` are ours, by link; `wanted` the links that are to be in them."""
        self._bridges, self._wanted, self._disk = bridges, wanted, disk

    async def look(self) -> Sequence[Finding]:
        """See `Check`."""
        there = await trio.to_thread.run_sync(bridge_ports, limiter=self._disk)
        bridges, wanted = self._bridges(), self._wanted()
        return [
            *(
                _link(name, f"it is in {master}, and no container's")
                for name, master in there.items()
                if master in bridges and name.startswith(HOST_LINK_PREFIX) and name not in wanted
            ),
            *(
                _link(name, f"the link of container {link.container_id} is gone")
                for name, link in wanted.items()
                if name not in there
            ),
            *(
                _link(name, f"container {link.container_id} needs it in {link.bridge}")
                for name, link in wanted.items()
                if there.get(name, link.bridge) != link.bridge
            ),
            *(_link(name, "the bridge of a network is gone") for name in bridges - there.keys()),
        ]


class FirewallCheck:
    """The firewall table has the chains, rules and elements that are meant, and no others."""

    kind = "firewall"

    def __init__(self, compare: Callable[[], Awaitable[Sequence[Difference]]]) -> None:
        self._compare = compare

    async def look(self) -> Sequence[Finding]:
        """See `Check`."""
        found = await self._compare()
        return [Finding(kind="firewall", subject=one.what, text=one.text) for one in found]


class ClusterNetworking(Protocol):
    """The networking of a node in a cluster."""

    async def differences(self) -> Sequence[Difference]:
        """What is not as the managers say. Raises EngineError."""

    async def mend(self) -> None:
        """Have it so."""


class OverlayCheck:
    """Networks that span nodes, the ingress namespace, and rules that lead to services.

    The node compares them by itself every few seconds; what lasts longer is found here.
    """

    kind = "overlays"

    def __init__(self, networking: Callable[[], ClusterNetworking | None]) -> None:
        """`networking` tells whether there is a cluster."""
        self._networking = networking

    async def look(self) -> Sequence[Finding]:
        """See `Check`."""
        networking = self._networking()
        found = await networking.differences() if networking is not None else ()
        return [Finding(kind="overlays", subject=one.what, text=one.text) for one in found]

    async def mend(self) -> None:
        """Have all of it as it is meant, as far as it can be."""
        networking = self._networking()
        if networking is not None:
            await networking.mend()


class PortCheck:
    """Published ports are held by sockets, and the proxy has those that it is to carry."""

    kind = "ports"

    def __init__(
        self, problems: Callable[[], Mapping[str, Sequence[str]]], *, disk: trio.CapacityLimiter
    ) -> None:
        """`problems` blocks: by container, what is wrong."""
        self._problems, self._disk = problems, disk

    async def look(self) -> Sequence[Finding]:
        """See `Check`."""
        found = await trio.to_thread.run_sync(self._problems, limiter=self._disk)
        return [
            Finding(kind="ports", subject=owner, text=text)
            for owner, texts in found.items()
            for text in texts
        ]


def _link(subject: str, text: str) -> Finding:
    return Finding(kind="links", subject=subject, text=text)
