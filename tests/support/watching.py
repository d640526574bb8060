"""What a cluster's containers are told of a service, and whether it is right, all the time."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dnslib import DNSRecord

from services.networks.kernel.netns import in_namespace
from tests.support.steady import requested

EVERY_S: Final = 0.3
ANSWER_LIMIT_S: Final = 8.0
"""Nobody is there after this; a slow machine is somebody."""
TARGET: Final = 80
SERVER: Final = ("127.0.0.11", 53)


@dataclass(frozen=True, slots=True, order=True)
class Wrong:
    """Something that was not as it should be, from `at` (time.time()) on, seen at a node."""

    at: float
    node: str
    what: str
    text: str


class Watch:
    """Looks from nodes, by their addresses: from a container (its process) of each, and outside.

    Inside, the service `web` is to answer at its own address, and each address of `tasks.web`;
    outside, each node is to answer at the published port.
    """

    def __init__(self, pids: Mapping[str, int], port: int) -> None:
        self.wrong: list[Wrong] = []
        self.count = 0
        self._pids = pids
        self._port = port
        self._lock = threading.Lock()
        self._is_over = threading.Event()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Until the block is left."""
        threads = []
        for node, pid in self._pids.items():
            namespace = Path(f"/proc/{pid}/ns/net")
            inside = (namespace, lambda node=node: self._keep(node, self._look_inside))
            threads += [
                threading.Thread(target=in_namespace, args=inside),
                threading.Thread(target=self._keep, args=(node, self._look_outside)),
            ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            for thread in threads:
                thread.join()

    def _keep(self, node: str, look: Callable[[str], None]) -> None:
        while not self._is_over.wait(EVERY_S):
            look(node)

    def _look_inside(self, node: str) -> None:
        self._try(node, "web", lambda: _connect(resolved("web")[0]))
        addresses: list[str] = []
        self._try(node, "tasks.web", lambda: addresses.extend(resolved("tasks.web")))
        for address in addresses:
            self._try(node, f"tasks.web: {address}", lambda address=address: _connect(address))  # type: ignore[misc]

    def _look_outside(self, node: str) -> None:
        self._try(node, f"port {self._port}", lambda: requested(node, self._port))

    def _try(self, node: str, what: str, look: Callable[[], object]) -> None:
        at = time.time()
        try:
            look()
        except OSError as error:
            with self._lock:
                self.wrong.append(Wrong(at, node, what, str(error)))
        with self._lock:
            self.count += 1


def resolved(name: str) -> list[str]:
    """A name's IPv4 addresses, of the server inside. Raises OSError for none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as query:
        query.settimeout(ANSWER_LIMIT_S)
        query.sendto(DNSRecord.question(name).pack(), SERVER)
        answer = DNSRecord.parse(query.recv(4096))
    if not answer.rr:
        raise OSError(f"{name} has no address")
    return [str(record.rdata) for record in answer.rr]


def _connect(address: str) -> None:
    with socket.create_connection((address, TARGET), timeout=ANSWER_LIMIT_S):
        pass
