"""A host of its own in network namespaces: bridges with containers, and a neighbour outside.

Nothing of the machine's own network is touched. Sockets are opened in a namespace by a thread that
enters it; they stay there, whoever uses them.
"""

from __future__ import annotations

import ctypes
import secrets
import select
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Final, TypeVar

T = TypeVar("T")

ANSWER_LIMIT_S: Final = 20.0
SILENCE_S: Final = 0.4
"""How long a packet that is dropped is waited for; there is no wire that could be slow."""

_CLONE_NEWNET: Final = 0x40000000
_libc: Final = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One namespace and its addresses."""

    name: str
    netns: Path
    ipv4: str = ""
    ipv6: str = ""

    def run(self, *command: str, text: str | None = None) -> str:
        """A command in there; its output. Raises CalledProcessError."""
        done = subprocess.run(
            ["nsenter", f"--net={self.netns}", *command],
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def inside(self, call: Callable[[], T]) -> T:
        """Call something in a thread that is in there."""
        found: list[T] = []
        errors: list[BaseException] = []

        def entered() -> None:
            try:
                _enter(self.netns)
                found.append(call())
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=entered)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return found[0]


def _enter(netns: Path) -> None:
    with netns.open() as namespace:
        if _libc.setns(namespace.fileno(), _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {netns}")


@dataclass(slots=True)
class Lab:
    """The host, its neighbour, and the containers by name. Made by `running_lab`."""

    host: Place
    outside: Place
    containers: dict[str, Place] = field(default_factory=dict)
    _servers: list[socket.socket] = field(default_factory=list)
    _names: dict[int, str] = field(default_factory=dict)

    def place(self, name: str) -> Place:
        """By its name; `host` and `outside` are places, too."""
        return {"host": self.host, "outside": self.outside, **self.containers}[name]

    def listen(self, name: str, *ports: int) -> None:
        """Have a place answer on TCP ports, with its name and whom it saw."""
        for port in ports:
            server = self.place(name).inside(
                lambda port=port: socket.create_server(  # type: ignore[misc]
                    ("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64
                )
            )
            server.setblocking(False)
            self._names[server.fileno()] = name
            self._servers.append(server)

    def reached(
        self,
        attempts: Iterable[tuple[str, str, int]],
        silent: Iterable[tuple[str, str, int]] = (),
    ) -> dict[tuple[str, str, int], tuple[str, str]]:
        """Who answers which of the attempts (source, address, port): name and the source it saw.

        What is not there was not answered: those that should be are waited for, those that should
        not, `silent`, have a moment to do it all the same.
        """
        awaited = list(attempts)
        attempts = [*awaited, *silent]
        connections = {attempt: self._connecting(*attempt) for attempt in attempts}
        accepted: list[socket.socket] = []
        found: dict[tuple[str, str, int], tuple[str, str]] = {}
        began_at = time.monotonic()
        try:
            while len(found) < len(attempts):
                is_waiting = any(attempt not in found for attempt in awaited)
                limit_s = ANSWER_LIMIT_S if is_waiting else SILENCE_S
                left = began_at + limit_s - time.monotonic()
                if left <= 0:
                    break
                waiting = [c for a, c in connections.items() if a not in found]
                ready, _, _ = select.select([*self._servers, *waiting], [], [], left)
                accepted += [self._greeted(server) for server in self._servers if server in ready]
                for attempt, connection in connections.items():
                    if connection in ready and attempt not in found:
                        answer = _received(connection)
                        if answer is None:
                            waiting.remove(connection)
                            connections[attempt] = _deaf()
                        else:
                            found[attempt] = answer
        finally:
            for each in (*connections.values(), *accepted):
                each.close()
        return found

    def _connecting(self, source: str, address: str, port: int) -> socket.socket:
        family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
        connection = self.place(source).inside(lambda: socket.socket(family, socket.SOCK_STREAM))
        connection.setblocking(False)
        connection.connect_ex((address, port))
        return connection

    def _greeted(self, server: socket.socket) -> socket.socket:
        connection, peer = server.accept()
        seen = peer[0].removeprefix("::ffff:")
        connection.sendall(f"{self._names[server.fileno()]} {seen}".encode())
        return connection

    def close(self) -> None:
        """Let go of the servers."""
        for server in self._servers:
            server.close()


def _received(connection: socket.socket) -> tuple[str, str] | None:
    try:
        name, _, seen = connection.recv(200).decode().partition(" ")
    except OSError:
        return None
    return (name, seen) if name else None


def _deaf() -> socket.socket:
    """One that never becomes readable."""
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


@contextmanager
def running_lab(bridges: dict[str, Sequence[str]]) -> Iterator[Lab]:
    """A lab whose host has these bridges with these containers on them.

    Bridge number n has 10.99.n.0/24 and fd00:99:n::/64 with the host at .1, containers from .2.
    The neighbour is 192.0.2.2 and 2001:db8::2, the host 192.0.2.1; it has routes to all bridges.
    """
    tag = f"wl{secrets.token_hex(3)}"
    names = ["host", "outside", *(name for group in bridges.values() for name in group)]
    paths = {name: Path(f"/run/netns/{tag}-{name}") for name in names}
    for path in paths.values():
        subprocess.run(["ip", "netns", "add", path.name], check=True)
    try:
        lab = Lab(
            host=Place(name="host", netns=paths["host"], ipv4="192.0.2.1", ipv6="2001:db8::1"),
            outside=Place(
                name="outside", netns=paths["outside"], ipv4="192.0.2.2", ipv6="2001:db8::2"
            ),
        )
        _wire(lab, bridges, paths)
        yield lab
        lab.close()
    finally:
        for path in paths.values():
            subprocess.run(["ip", "netns", "delete", path.name], check=False)


def _without_waiting() -> None:
    """Addresses of IPv6 are good at once: nobody else is there."""
    for what in ("all", "default"):
        Path(f"/proc/sys/net/ipv6/conf/{what}/accept_dad").write_text("0")


def _wire(lab: Lab, bridges: dict[str, Sequence[str]], paths: dict[str, Path]) -> None:
    host = [
        "link set lo up",
        f"link add up0 type veth peer name eth0 netns {paths['outside'].name}",
        "address add 192.0.2.1/24 dev up0",
        "address add 2001:db8::1/64 dev up0 nodad",
        "link set up0 up",
    ]
    outside = [
        "link set lo up",
        "address add 192.0.2.2/24 dev eth0",
        "address add 2001:db8::2/64 dev eth0 nodad",
        "link set eth0 up",
        "route add 10.99.0.0/16 via 192.0.2.1",
        "route add fd00:99::/32 via 2001:db8::1",
    ]
    inside: dict[str, list[str]] = {}
    for number, (bridge, names) in enumerate(bridges.items()):
        host += [
            f"link add {bridge} type bridge",
            f"address add 10.99.{number}.1/24 dev {bridge}",
            f"address add fd00:99:{number}::1/64 dev {bridge} nodad",
            f"link set {bridge} up",
        ]
        for place, name in enumerate(names, 2):
            ipv4, ipv6 = f"10.99.{number}.{place}", f"fd00:99:{number}::{place}"
            link = f"v{number}x{place}"
            host += [
                f"link add {link} type veth peer name eth0 netns {paths[name].name}",
                f"link set {link} master {bridge} up",
                f"link set {link} type bridge_slave hairpin on",
            ]
            inside[name] = [
                "link set lo up",
                f"address add {ipv4}/24 dev eth0",
                f"address add {ipv6}/64 dev eth0 nodad",
                "link set eth0 up",
                f"route add default via 10.99.{number}.1",
                f"route add ::/0 via fd00:99:{number}::1",
            ]
            lab.containers[name] = Place(name=name, netns=paths[name], ipv4=ipv4, ipv6=ipv6)
    for each in (lab.host, lab.outside, *lab.containers.values()):
        each.inside(_without_waiting)
    lab.host.run("ip", "-batch", "-", text="\n".join(host) + "\n")
    for name, lines in {"outside": outside, **inside}.items():
        lab.place(name).run("ip", "-batch", "-", text="\n".join(lines) + "\n")
    switches = ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]
    switches += [f"net.ipv4.conf.{bridge}.route_localnet=1" for bridge in bridges]
    lab.host.run("sysctl", "-qw", *switches)
