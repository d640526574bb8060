"""A steady stream of requests, whatever becomes of those before."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

THREADS: Final = 16
ANSWER_LIMIT_S: Final = 15.0
"""A connection that was let go of by both ends is known after this; a slow machine is none."""


@dataclass(slots=True)
class Told:
    """What came of them: how many, and what went wrong with when it began, in time.time()."""

    count: int = 0
    failures: list[tuple[float, str, str]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, began_at: float, address: str, failure: str) -> None:
        """One more."""
        with self._lock:
            self.count += 1
            if failure:
                self.failures.append((began_at, address, failure))


def requested(address: str, port: int) -> str:
    """What an HTTP server answers, its body. Raises OSError if it is cut off, or no 200."""
    with socket.create_connection((address, port), timeout=ANSWER_LIMIT_S) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        data = b""
        while part := connection.recv(65536):
            data += part
    head, _, body = data.partition(b"\r\n\r\n")
    if b" 200 " not in head.partition(b"\r\n")[0] or not body.endswith(b"\n"):
        raise OSError(f"no whole answer: {data[:200]!r}")
    return body.decode()


@contextmanager
def steady_requests(addresses: Sequence[str], port: int, *, per_s: int) -> Iterator[Told]:
    """To each address in turn, until the block is left. What is late is sent all the same."""
    told = Told()
    is_over = threading.Event()
    began_at = time.monotonic()

    def ask(first: int) -> None:
        number = first
        while not is_over.wait(max(0.0, began_at + number / per_s - time.monotonic())):
            # Each thread goes through all of them.
            address, at = addresses[(number // THREADS + first) % len(addresses)], time.time()
            try:
                requested(address, port)
            except OSError as error:
                told.add(at, address, str(error))
            else:
                told.add(at, address, "")
            number += THREADS

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    try:
        yield told
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
