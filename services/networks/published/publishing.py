"""Published ports as a whole: reserved on the host, led by the kernel, carried by the proxy.

A port is decided and reserved first (`reserve`); `publish` leads it to the container; `release`
takes all of it back. What each owner has is known here, whichever of the three leads it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeVar

import trio
from loguru import logger

from services.errors import NotSupported
from services.networks.firewall.firewall import Firewall
from services.networks.firewall.network_rules import PortTargets
from services.networks.kernel.conntrack import forget_udp_flows
from services.networks.ports import ANY_ADDRESS, PortRequest, PublishedPort
from services.networks.published.port_plan import (
    PortMeans,
    is_proxied,
    port_groups,
    proxy_target,
    routed_ports,
)
from services.networks.published.proxy import ProxiedPort, UserlandProxy
from services.networks.published.reservations import Reservations

_T = TypeVar("_T")

log = logger.bind(service="networks")

_NO_MEANS: Final = (
    "ports cannot be published without a firewall and a userland proxy "
    "(--iptables=false, --userland-proxy=false)"
)


@dataclass(frozen=True, slots=True)
class _Owned:
    targets: PortTargets
    ports: tuple[PublishedPort, ...]


class Publishing:
    """Who has which ports. `firewall` and `proxy` are None where the settings want none."""

    def __init__(
        self,
        *,
        firewall: Firewall | None,
        proxy: UserlandProxy | None,
        means: PortMeans,
    ) -> None:
        self._firewall = firewall
        self._proxy = proxy
        self._means = means
        self._reservations = Reservations()
        self._reserving = trio.Lock()
        self._owned: dict[str, _Owned] = {}
        self._threads = trio.CapacityLimiter(4)

    def owned(self, prefix: str) -> dict[str, tuple[PortTargets, tuple[PublishedPort, ...]]]:
        """What owners have whose names begin so, and where it leads."""
        return {
            owner: (owned.targets, owned.ports)
            for owner, owned in self._owned.items()
            if owner.startswith(prefix)
        }

    async def reserve(
        self,
        owner: str,
        targets: PortTargets,
        requests: Sequence[PortRequest],
        *,
        default_address: str = ANY_ADDRESS,
    ) -> tuple[PublishedPort, ...]:
        """Reserve a container's ports; nobody is led anywhere yet.

        `default_address`: the network's, for ports that name none.

        Raises:
            NotSupported: there is nothing to lead them with.
            EngineError: a port is taken, or its address is none of the host's; in dockerd's words.
        """
        if not requests:
            return ()
        if self._firewall is None and self._proxy is None:
            raise NotSupported(_NO_MEANS)
        groups = port_groups(requests, targets, self._means, default_address)
        reserve = partial(self._reservations.reserve, owner, groups)
        async with self._reserving:
            ports = await self._in_thread(reserve) if groups else ()
        ports += tuple(routed_ports(requests, targets, self._means, default_address))
        self._owned[owner] = _Owned(targets, ports)
        return ports

    async def publish(self, owner: str, targets: PortTargets | None = None) -> None:
        """Lead what was reserved to the container; with `targets`, elsewhere than before.

        Raises:
            Unavailable, EngineError: the firewall cannot be changed; the ports lead nowhere.
        """
        owned = self._owned.get(owner)
        if owned is None or not owned.ports:
            return
        if targets is not None:
            owned = self._owned[owner] = _Owned(targets, owned.ports)
            if self._proxy is not None:
                await self._proxy.stop(owner)
        if self._firewall is not None:
            await self._firewall.publish(owner, self._led(owned.targets), owned.ports)
        self._serve(owner, owned)
        await self._forget_flows(owned.ports)

    async def release(self, owner: str) -> None:
        """Let others have an owner's ports, if it has any.

        The rules go before the reservation: the next one's must not be taken for ours.
        """
        owned = self._owned.pop(owner, None)
        if owned is None:
            return
        if self._firewall is not None:
            await self._firewall.withdraw(owner)
        if self._proxy is not None:
            await self._proxy.stop(owner)
        async with self._reserving:
            self._reservations.release(owner)
        await self._forget_flows(owned.ports)

    def adopt(self, owner: str, targets: PortTargets, ports: Sequence[PublishedPort]) -> None:
        """A container found running has these ports; `settle` is to follow."""
        if not ports or owner in self._owned:
            return
        self._owned[owner] = _Owned(targets, tuple(ports))
        if self._firewall is not None:
            self._firewall.adopt(owner, self._led(targets), ports)
        for problem in self._reservations.adopt(owner, ports):
            log.warning("port not reserved again", container=owner, error=problem)
        self._serve(owner, self._owned[owner])

    def problems(self) -> dict[str, list[str]]:
        """What of the published ports is not on the machine as it should be, by container.

        Blocks for some system calls a port.
        """
        carried = self._proxy.carried() if self._proxy is not None else {}
        has = _sockets_of(self._proxy.pid) if self._proxy is not None and carried else frozenset()
        found: dict[str, list[str]] = {}
        for owner, owned in list(self._owned.items()):
            texts = [
                f"no socket holds {port.host_address}:{port.host_port}/{port.protocol}"
                for port in self._reservations.lacking(owner, owned.ports)
            ]
            texts += [
                f"the userland proxy does not carry {one.protocol} to {one.address}:{one.port}"
                for one in carried.get(owner, ())
                if _inode(one.bound) not in has
            ]
            if texts:
                found[owner] = texts
        return found

    async def mend(self) -> None:
        """Reserve what is not reserved, and have the proxy carry what it does not.

        A port that somebody else has by now stays as it is: the next look says so.
        """
        for owner in self.problems():
            owned = self._owned.get(owner)
            if owned is None:
                continue
            async with self._reserving:
                problems = self._reservations.adopt(owner, owned.ports)
            for problem in problems:
                log.warning("port not reserved again", container=owner, error=problem)
            if self._proxy is not None:
                await self._proxy.stop(owner)
                self._serve(owner, owned)

    def settle(self) -> None:
        """All that run were adopted: no others' ports are led any more."""
        if self._firewall is not None:
            self._firewall.settle()

    def _led(self, targets: PortTargets) -> PortTargets:
        """What of it the firewall leads."""
        return targets if self._means.has_firewall6 else replace(targets, ipv6=None)

    def _serve(self, owner: str, owned: _Owned) -> None:
        if self._proxy is None:
            return
        proxied = []
        for port in owned.ports:
            if not is_proxied(port, owned.targets, self._means):
                continue
            bound, target = (
                self._reservations.opened(owner, port),
                proxy_target(port, owned.targets),
            )
            if bound is not None and target is not None:
                proxied.append(
                    ProxiedPort(
                        bound=bound,
                        protocol=port.protocol,
                        address=str(target.address),
                        port=port.container_port,
                    )
                )
        self._proxy.serve(owner, proxied)

    async def _forget_flows(self, ports: Sequence[PublishedPort]) -> None:
        numbers = frozenset(port.host_port for port in ports if port.protocol == "udp")
        if numbers:
            try:
                await self._in_thread(partial(forget_udp_flows, numbers))
            except OSError as error:  # a client that goes on sending reaches nobody for a while
                log.warning("UDP flows not forgotten", ports=sorted(numbers), error=str(error))

    async def _in_thread(self, call: partial[_T]) -> _T:
        return await trio.to_thread.run_sync(call, limiter=self._threads)


def _sockets_of(pid: int) -> frozenset[int]:
    """The inodes of the sockets that a process has; none of one that is gone. Blocks."""
    found = set()
    with suppress(OSError), os.scandir(f"/proc/{pid}/fd") as entries:
        for entry in entries:
            with suppress(OSError):  # it was closed meanwhile
                name = os.readlink(entry.path)
                if name.startswith("socket:["):
                    found.add(int(name[len("socket:[") : -1]))
    return frozenset(found)


def _inode(bound: socket.socket) -> int:
    """By which the kernel names a socket in each process that has it; 0: it was closed."""
    try:
        return os.fstat(bound.fileno()).st_ino
    except OSError:
        return 0
