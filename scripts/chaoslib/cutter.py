"""Passes connections on, and cuts them: clients' to the engine, the engine's to a registry."""

from __future__ import annotations

import ctypes
import random
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

_BLOCK_BYTES: Final = 1 << 16
_MOST_BYTES: Final = 1 << 20  # that a connection gets to while connections are being cut
_RESET: Final = struct.pack("ii", 1, 0)  # linger: closing resets
_CLONE_NEWNET: Final = 0x40000000
_BACKLOG: Final = 64


class Cutter:
    """Listens, and connects each client that comes to what `connect` opens.

    Half-closed connections stay so: clients that attach end their input alone.
    """

    def __init__(
        self,
        listen: Callable[[], socket.socket],
        connect: Callable[[], socket.socket],
        *,
        netns: Path | None = None,
    ) -> None:
        """With `netns` both happen in that network namespace."""
        self._listen, self._connect, self._netns = listen, connect, netns
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listening = threading.Event()
        self._server: socket.socket | None = None
        self._cutting_until = 0.0
        self._chance = random.Random(0)

    def start(self) -> None:
        """Return once it listens."""
        threading.Thread(target=self._accept, daemon=True).start()
        if not self._listening.wait(10):
            raise OSError("the cutter does not listen")

    def close(self) -> None:
        """Listen no more, and cut what is open."""
        if self._server is not None:
            with suppress(OSError):
                self._server.shutdown(socket.SHUT_RDWR)
            self._server.close()
        self.cut()

    def cut(self, *, for_s: float = 0.0) -> int:
        """Cut all that are open, and for so long those that come, in their midst; how many."""
        with self._lock:
            self._cutting_until = time.monotonic() + for_s
            cut = list(self._open)
        for one in cut:
            _reset(one)
        return len(cut) // 2

    def _accept(self) -> None:
        if self._netns is not None:
            _enter(self._netns)  # this thread; those that it starts are there too
        self._server = self._listen()
        self._listening.set()
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            try:
                beyond = self._connect()
            except OSError:
                _reset(client)
                client.close()
                continue
            ends = [0]
            for source, target in ((client, beyond), (beyond, client)):
                with self._lock:
                    self._open.add(source)
                threading.Thread(
                    target=self._pass_on, args=(source, target, ends), daemon=True
                ).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, ends: list[int]) -> None:
        passed, most = 0, self._chance.randrange(_MOST_BYTES)
        try:
            while block := source.recv(_BLOCK_BYTES):
                target.sendall(block)
                passed += len(block)
                if passed > most and time.monotonic() < self._cutting_until:
                    raise ConnectionAbortedError
            target.shutdown(socket.SHUT_WR)
        except OSError:  # one end is gone: the other is to know
            _reset(source)
            _reset(target)
        with self._lock:
            ends[0] += 1
            is_over = ends[0] == 2
            if is_over:
                self._open -= {source, target}
        if is_over:
            source.close()
            target.close()


def _reset(one: socket.socket) -> None:
    """Both directions end at once, as when a cable is cut and somebody notices."""
    with suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


def _enter(netns: Path) -> None:
    with netns.open() as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {netns}")
