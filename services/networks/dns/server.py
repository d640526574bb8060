"""The DNS server of the containers: it answers them at 127.0.0.11, each in its own namespace.

What it serves outlives its task: the sockets stay open while the child begins anew, and questions
wait in them. Only those that others were being asked are lost.
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import trio
from loguru import logger

from services.errors import EngineError
from services.networks.dns.cache import Cache
from services.networks.dns.names import Address, NameBook
from services.networks.dns.sockets import Listening, listen_in, open_socket, socket_in
from services.networks.dns.upstream import Resolver, Scope, Upstream

log = logger.bind(service="dns")

THREADS: Final = 4


@dataclass(frozen=True, slots=True)
class _View:
    """The book as one container sees it."""

    book: NameBook
    container_id: str

    def addresses(self, name: str) -> tuple[Address, ...] | None:
        return self.book.addresses(self.container_id, name)

    def name_of(self, address: Address) -> str | None:
        return self.book.name_of(self.container_id, address)


@dataclass(eq=False, slots=True, kw_only=True)
class _Served:
    """One container that is served.

    Attributes:
        scope: of the task that serves it; None while there is none. Whoever ends last, the task or
            `stop`, closes the sockets.
    """

    container_id: str
    namespace: Path
    listening: Listening
    resolvers: tuple[Resolver, ...]
    keeps_short_names: bool
    scope: trio.CancelScope | None = None
    is_stopped: bool = False


class Dns:
    """Answers from `names`, and asks others for what is not in it."""

    def __init__(self, names: NameBook) -> None:
        self.names = names
        self._served: dict[str, _Served] = {}
        self._cache = Cache()
        self._answers = itertools.count()
        self._threads = trio.CapacityLimiter(THREADS)
        self._host: Scope | None = None

    @property
    def served(self) -> frozenset[str]:
        """The ids of the containers that are served."""
        return frozenset(self._served)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Answer whoever is served, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._host = Scope(_open_here, nursery)
            try:
                for served in self._served.values():
                    self._begin(served, self._host)
                task_status.started()
                await trio.sleep_forever()
            finally:
                self._host = None

    async def serve(
        self,
        container_id: str,
        namespace: Path,
        *,
        resolvers: Sequence[Resolver],
        keeps_short_names: bool = False,
    ) -> None:
        """Answer a container at 127.0.0.11 in its namespace, from now on.

        While the child is away, questions wait. `keeps_short_names`: a name without a dot that
        nobody has is not asked of others; its search list is to be tried (`ndots`).

        Raises:
            EngineError: it cannot be done in that namespace.
        """
        self.stop(container_id)
        try:
            listening = await trio.to_thread.run_sync(
                listen_in, namespace, container_id, limiter=self._threads
            )
        except OSError as error:
            reason = error.strerror or error
            raise EngineError(f"the DNS server cannot listen in {namespace}: {reason}") from error
        self.stop(container_id)  # another one may have been quicker
        served = self._served[container_id] = _Served(
            container_id=container_id,
            namespace=namespace,
            listening=listening,
            resolvers=tuple(resolvers),
            keeps_short_names=keeps_short_names,
        )
        if self._host is not None:
            self._begin(served, self._host)

    def stop(self, container_id: str) -> None:
        """Let go of a container's namespace: before it is dropped, or the kernel keeps it."""
        served = self._served.pop(container_id, None)
        if served is None:
            return
        served.is_stopped = True
        if served.scope is None:
            served.listening.close()
        else:
            served.scope.cancel()

    def _begin(self, served: _Served, host: Scope) -> None:
        served.scope = trio.CancelScope()
        host.nursery.start_soon(self._serve, served, served.scope, host)

    async def _serve(self, served: _Served, scope: trio.CancelScope, host: Scope) -> None:
        from services.networks.dns.serving import Client, Serving

        client = Client(
            container_id=served.container_id,
            view=_View(self.names, served.container_id),
            leads_out=partial(self.names.leads_out, served.container_id),
            keeps_short_names=served.keeps_short_names,
            turn=self._answers.__next__,
        )
        try:
            with scope:
                async with trio.open_nursery() as nursery:
                    own = Scope(partial(self._open_in, served.namespace), nursery)
                    others = Upstream(
                        served.resolvers,
                        host=host,
                        own=own,
                        cache=self._cache,
                        owner=served.container_id,
                    )
                    await Serving(client, served.listening, others).run()
        finally:
            served.scope = None
            if served.is_stopped:
                served.listening.close()

    async def _open_in(self, namespace: Path, family: int, kind: int) -> socket.socket:
        call = partial(socket_in, namespace, family, kind)
        return await trio.to_thread.run_sync(call, limiter=self._threads)


async def _open_here(family: int, kind: int) -> socket.socket:
    return open_socket(family, kind)
