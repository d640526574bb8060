"""The one connection to containerd: its first call, and what each call bears."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Final

from protos.generated.containerd.services.version.v1 import VersionResponse
from protos.generated.wire import Empty
from services.grpc import connection
from services.grpc.connection import CONNECT_LIMIT_S as CONNECT_LIMIT_S
from services.grpc.connection import READY_WAIT_S as READY_WAIT_S
from services.grpc.connection import RETRY_MAX_S as RETRY_MAX_S
from services.grpc.connection import Peer
from services.grpc.connection import retry_delay_s as retry_delay_s
from services.grpc.link import Link

from ._method import Method
from .errors import containerd_errors

VERSION: Final = Method(
    service="containerd.services.version.v1.Version",
    name="Version",
    request=Empty,
    reply=VersionResponse,
)

_lease: ContextVar[str | None] = ContextVar("containerd_lease", default=None)


@contextmanager
def lease_on_calls(id: str) -> Iterator[None]:
    """Put what calls within the block create under lease `id`; tasks started there inherit it."""
    token = _lease.set(id)
    try:
        yield
    finally:
        _lease.reset(token)


class Connection(connection.Connection):
    """Calls to containerd at `address` in `namespace`."""

    def __init__(self, address: Path, namespace: str) -> None:
        self._namespace = namespace
        super().__init__(_peer(address, self._metadata))

    def _metadata(self) -> Iterable[tuple[str, str]]:
        lease = _lease.get()
        if lease is None:
            return (("containerd-namespace", self._namespace),)
        return (("containerd-namespace", self._namespace), ("containerd-lease", lease))


async def probe(address: Path) -> bool:
    """Whether containerd answers at `address`, on a connection of its own. No limit."""
    return await connection.probe(_peer(address))


def _peer(address: Path, metadata: connection.MetadataOf = tuple) -> Peer:
    return Peer(
        name="containerd",
        target=address,
        errors=containerd_errors,
        greet=_greet,
        metadata=metadata,
    )


async def _greet(link: Link) -> None:
    with containerd_errors("containerd version"):
        await link.run(link.unary(VERSION, Empty(), ()))
