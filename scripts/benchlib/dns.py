"""Asks the DNS server of an engine, from within the network namespace of a container."""

from __future__ import annotations

import ctypes
import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from .engines import Engine, EngineFailed

CLIENTS: Final = 16
"""Who ask at the same time, each as soon as the last answer is there."""

SERVER: Final = ("127.0.0.11", 53)
NETWORK: Final = "bench-names"
NAME: Final = "named"
_ANSWER_LIMIT_S: Final = 5.0
_CLONE_NEWNET: Final = 0x40000000


@contextmanager
def named_container(engine: Engine, image: str) -> Iterator[int]:
    """A container `NAME` on a user-defined network within the block; the pid of its process."""
    with ExitStack() as undo:
        engine.docker("network", "create", NETWORK)
        undo.callback(engine.docker, "network", "rm", NETWORK)
        options = ("-d", "--name", NAME, "--network", NETWORK)
        engine.docker("run", *options, image, "sleep", "100000")
        undo.callback(engine.docker, "rm", "-f", NAME)
        yield int(engine.docker("inspect", NAME, "-f", "{{.State.Pid}}"))


def answers_per_s(pid: int, name: str, seconds: float) -> float:
    """How many questions for an address a process's namespace gets answered.

    Raises:
        EngineFailed: one was not answered, or not with an address.
    """
    query = _query(name)
    with ExitStack() as opened:
        clients = {one.fileno(): opened.enter_context(one) for one in _clients_in(pid)}
        poll = opened.enter_context(select.epoll())
        for number, client in clients.items():
            poll.register(number, select.EPOLLIN)
            client.send(query)
        count, began = 0, time.perf_counter()
        while (took_s := time.perf_counter() - began) < seconds:
            ready = poll.poll(_ANSWER_LIMIT_S)
            if not ready:
                raise EngineFailed("the DNS server does not answer")
            for number, _ in ready:
                answer = clients[number].recv(4096)
                if answer[3] & 0x0F or not answer[7]:
                    raise EngineFailed(f"no address for {name}")
                count += 1
                clients[number].send(query)
    return count / took_s


def _query(name: str) -> bytes:
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return b"\0\1\1\0\0\1\0\0\0\0\0\0" + labels + b"\0\0\1\0\1"


def _clients_in(pid: int) -> list[socket.socket]:
    """Sockets of the namespace, made by a thread that ends with it."""
    made: list[socket.socket] = []

    def make() -> None:
        namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if ctypes.CDLL(None).setns(namespace, _CLONE_NEWNET) == 0:
                made.extend(socket.socket(type=socket.SOCK_DGRAM) for _ in range(CLIENTS))
        finally:
            os.close(namespace)
        for client in made:
            client.connect(SERVER)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if len(made) != CLIENTS:
        raise EngineFailed(f"cannot enter the network namespace of {pid}")
    return made
