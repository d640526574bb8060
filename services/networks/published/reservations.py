"""Host ports that are reserved for containers, each by a socket that is bound to it.

The kernel's rules take the traffic away before it reaches the socket: it is there so that no
program gets the port, and so that one which has it is noticed. A filter drops whatever reaches it
all the same, while the rules are not there: a client tries again instead of being refused. What the
userland proxy is to carry has no filter: see `opened`.
"""

from __future__ import annotations

import ctypes
import errno
import resource
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from services.errors import EngineError
from services.networks.ports import PortGroup, PublishedPort

EPHEMERAL: Final = (32768, 60999)
"""dockerd's range for ports that it chooses, unless the kernel has another one."""

_RANGE_FILE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_SO_ATTACH_FILTER: Final = 26
_DROP_ALL: Final = struct.pack("HBBI", 6, 0, 0, 0)  # BPF: return 0 bytes of each packet
_SO_DETACH_FILTER: Final = 27
_BACKLOG: Final = 1024
_TYPES: Final = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM, "sctp": socket.SOCK_STREAM}
_NUMBERS: Final = {"tcp": 0, "udp": 0, "sctp": socket.IPPROTO_SCTP}

_Held = tuple[PublishedPort, "socket.socket | None"]


class Reservations:
    """The reserved ports by container. Sockets cost microseconds; not for two threads at once."""

    def __init__(self, *, ephemeral: tuple[int, int] | None = None) -> None:
        self._first, self._last = ephemeral or _ephemeral_range()
        self._next = self._first
        self._held: dict[str, list[_Held]] = {}
        self._by_number: dict[tuple[str, int], list[PublishedPort]] = {}
        self._count = 0

    def reserve(self, owner: str, groups: Sequence[PortGroup]) -> tuple[PublishedPort, ...]:
        """Reserve a number for each group, at all of its addresses, or none at all.

        Raises:
            EngineError: a port is taken, or its address is none of the host's; in dockerd's words.
        """
        try:
            return tuple([port for group in groups for port in self._reserve(owner, group)])
        except BaseException:
            self.release(owner)
            raise

    def adopt(self, owner: str, ports: Sequence[PublishedPort]) -> list[str]:
        """Reserve the ports that a running container has; why each of the others could not be."""
        held = {port for port, _ in self._held.get(owner, ())}
        problems = []
        for port in ports:
            if port not in held and port.host_port:
                try:
                    self._hold(owner, port)
                except EngineError as error:
                    problems.append(str(error))
        return problems

    def opened(self, owner: str, port: PublishedPort) -> socket.socket | None:
        """The socket of a port, for the proxy to take in what comes; it stays ours.

        None if the port is not held: what the kernel does not know, or somebody else has.
        """
        for held, bound in self._held.get(owner, ()):
            if held == port and bound is not None:
                with suppress(OSError):  # it has none any more
                    bound.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
                if port.protocol == "tcp":
                    bound.listen(_BACKLOG)
                return bound
        return None

    def lacking(self, owner: str, ports: Sequence[PublishedPort]) -> list[PublishedPort]:
        """Those of a container's ports that no socket of ours has."""
        held = {port for port, _ in self._held.get(owner, ())}
        return [port for port in ports if port.host_port and port not in held]

    def release(self, owner: str) -> None:
        """Let others have a container's ports."""
        self._let_go(self._held.pop(owner, ()))

    def _let_go(self, some: Sequence[_Held]) -> None:
        for port, bound in some:
            self._count -= 1
            if bound is not None:
                bound.close()
            key = (port.protocol, port.host_port)
            others = [other for other in self._by_number[key] if other is not port]
            if others:
                self._by_number[key] = others
            else:
                del self._by_number[key]

    def close(self) -> None:
        """Let go of everything."""
        for owner in tuple(self._held):
            self.release(owner)

    def _reserve(self, owner: str, group: PortGroup) -> list[PublishedPort]:
        refusal: EngineError | None = None
        for number in self._candidates(group):
            ports = [
                PublishedPort(
                    protocol=group.protocol,
                    container_port=group.container_port,
                    host_address=address,
                    host_port=number,
                )
                for address in group.host_addresses
            ]
            try:
                self._hold_all(owner, ports)
            except PortTaken as error:
                refusal = error
                continue
            if not group.last:
                self._next = number + 1 if number < self._last else self._first
            return ports
        if refusal is None or group.first == group.last != 0:
            raise refusal or EngineError("no port was asked for")
        raise PortTaken("all ports are allocated")

    def _hold_all(self, owner: str, ports: Sequence[PublishedPort]) -> None:
        """All of them or none."""
        before = len(self._held.get(owner, ()))
        try:
            for port in ports:
                self._hold(owner, port)
        except BaseException:
            held = self._held.pop(owner, [])
            if before:
                self._held[owner] = held[:before]
            self._let_go(held[before:])
            raise

    def _candidates(self, group: PortGroup) -> Iterator[int]:
        if group.last:
            yield from range(group.first, group.last + 1)
            return
        size = self._last - self._first + 1
        offset = self._next - self._first
        yield from (self._first + (offset + step) % size for step in range(size))

    def _hold(self, owner: str, port: PublishedPort) -> None:
        others = self._by_number.get((port.protocol, port.host_port), [])
        if any(port.overlaps(other) for other in others):
            raise PortTaken(
                f"Bind for {port.host_address}:{port.host_port} failed: port is already allocated"
            )
        bound = _bound(port, limit=self._room())
        self._held.setdefault(owner, []).append((port, bound))
        self._by_number[port.protocol, port.host_port] = [*others, port]
        self._count += 1

    def _room(self) -> int:
        """How many more sockets there may be: the rest of the daemon needs its half."""
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return limit // 2 - self._count


def listens_on_ipv6() -> bool:
    """Whether the host has IPv6 at all: without it, nothing can be bound to `::`."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::", 0))
    except OSError:
        return False
    return True


class PortTaken(EngineError):
    """Somebody has the port."""


def _bound(port: PublishedPort, *, limit: int) -> socket.socket | None:
    """A socket that has the port; None where the kernel does not know the protocol."""
    if limit <= 0:
        raise EngineError("too many ports are published: raise the daemon's limit of open files")
    try:
        family = socket.AF_INET6 if port.is_ipv6 else socket.AF_INET
        bound = socket.socket(family, _TYPES[port.protocol], _NUMBERS[port.protocol])
    except OSError as error:
        if port.protocol == "sctp" and error.errno in (
            errno.EPROTONOSUPPORT,
            errno.ESOCKTNOSUPPORT,
        ):
            return None
        raise _refusal(port, error) from error
    try:
        _drop_all(bound)
        if port.protocol == "tcp":
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # past TIME_WAIT
        if port.is_ipv6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((port.host_address, port.host_port))
        if port.protocol == "tcp":
            bound.listen(1)
    except OSError as error:
        bound.close()
        raise _refusal(port, error) from error
    return bound


def _refusal(port: PublishedPort, error: OSError) -> EngineError:
    text = (
        f"listen {port.protocol}{6 if port.is_ipv6 else 4} {_shown(port)}: "
        f"bind: {(error.strerror or str(error)).lower()}"
    )
    return PortTaken(text) if error.errno == errno.EADDRINUSE else EngineError(text)


def _shown(port: PublishedPort) -> str:
    address = f"[{port.host_address}]" if port.is_ipv6 else port.host_address
    return f"{address}:{port.host_port}"


def _drop_all(bound: socket.socket) -> None:
    code = ctypes.create_string_buffer(_DROP_ALL)
    program = struct.pack("HP", 1, ctypes.addressof(code))
    bound.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def _ephemeral_range() -> tuple[int, int]:
    try:
        first, last = map(int, _RANGE_FILE.read_text().split())
    except (OSError, ValueError):
        return EPHEMERAL
    return (first, last) if 0 < first <= last <= 65535 else EPHEMERAL
