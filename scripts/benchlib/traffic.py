"""Bytes through the network: from a network namespace to a server in another one."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from .engines import Engine, EngineFailed

PORT: Final = 5001
LIMIT_S: Final = 120.0

_SERVER: Final = """\
import socket, sys
server = socket.create_server(("", int(sys.argv[1])))
print("up", flush=True)
buffer = bytearray(1 << 20)
while True:
    client, _ = server.accept()
    while client.recv_into(buffer):
        pass
    client.sendall(b".")
    client.close()
"""

_CLIENT: Final = """\
import socket, sys, time
address, port, left = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
piece = memoryview(bytes(1 << 20))
with socket.create_connection((address, port), timeout=60) as server:
    began = time.perf_counter()
    while left:
        left -= server.send(piece[:left])
    server.shutdown(socket.SHUT_WR)
    if server.recv(1) != b".":
        sys.exit("the server has not had it all")
print(time.perf_counter() - began)
"""


@dataclass(frozen=True, slots=True)
class Way:
    """From where, as a path to a namespace, to which address."""

    netns: str
    address: str

    def timed(self, size: int) -> float:
        """The seconds that so many bytes take until the last one has arrived."""
        done = subprocess.run(
            [*_python(self.netns, _CLIENT), self.address, str(PORT), str(size)],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        if done.returncode != 0:
            raise EngineFailed(f"no bytes to {self.address}: {done.stderr[-500:]}")
        return float(done.stdout)


@contextmanager
def bare_pair() -> Iterator[Way]:
    """Two namespaces with nothing but a veth pair between them."""
    near, far = (f"wb{secrets.token_hex(3)}{end}" for end in "nf")
    for name in (near, far):
        _run("ip", "netns", "add", name)
    try:
        _run(
            "ip", "-n", near, "link", "add", "v", "type", "veth", "peer", "name", "v", "netns", far
        )
        for name, address in ((near, "10.98.0.1/24"), (far, "10.98.0.2/24")):
            _run("ip", "-n", name, "address", "add", address, "dev", "v")
            _run("ip", "-n", name, "link", "set", "v", "up")
        with _server(f"/run/netns/{far}"):
            yield Way(f"/run/netns/{near}", "10.98.0.2")
    finally:
        for name in (near, far):
            _run("ip", "netns", "delete", name)


@contextmanager
def published_port(engine: Engine) -> Iterator[Way]:
    """From an engine's host to a container of it, by a port published at the bridge's address."""
    engine.docker(
        "run", "-d", "--name", "server", "-p", f"{PORT}:{PORT}", "busybox", "sleep", "9999"
    )
    try:
        (shown,) = json.loads(engine.docker("inspect", "server"))
        gateway = shown["NetworkSettings"]["Networks"]["bridge"]["Gateway"]
        host = f"/proc/{engine.pid}/ns/net"
        _run(*_inside(host), "ip", "link", "set", "lo", "up")
        with _server(f"/proc/{shown['State']['Pid']}/ns/net"):
            yield Way(host, gateway)
    finally:
        engine.docker("rm", "-f", "server")


@contextmanager
def _server(netns: str) -> Iterator[None]:
    command = [*_python(netns, _SERVER), str(PORT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline() != b"up\n":
                raise EngineFailed("the server does not start")
            yield
        finally:
            process.kill()


def _python(netns: str, program: str) -> list[str]:
    return [*_inside(netns), sys.executable, "-I", "-S", "-c", program]


def _inside(netns: str) -> list[str]:
    return ["nsenter", f"--net={netns}"]


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
