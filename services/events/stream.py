"""containerd's event stream, made into calls: what happened to a task, and when to look around."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, Generic, Protocol, TypeVar

import trio
from loguru import logger

from services.errors import DeadlineExceeded, Unavailable

RETRY_S: Final = 0.5  # between a stream that ended and the next subscription
WARN_EVERY: Final = 10  # failures in a row: at RETRY_S each, a warning every five seconds

Envelope = TypeVar("Envelope")
Envelope_co = TypeVar("Envelope_co", covariant=True)
Envelope_contra = TypeVar("Envelope_contra", contravariant=True)


class EventSource(Protocol[Envelope_co]):
    """containerd's events. Provided by services.containerd."""

    def subscribe(self, *filters: str) -> AbstractAsyncContextManager[AsyncIterator[Envelope_co]]:
        """Events of all namespaces. Within the block none is missed, up to the stream's end.

        The iterator ends, or raises Unavailable, when the stream breaks.
        """
        ...


class ReadinessGate(Protocol):
    """The connection to containerd. Provided by services.containerd."""

    async def wait_ready(self) -> None:
        """Return once calls can be made."""
        ...


class TaskEventHandler(Protocol[Envelope_contra]):
    """Who is told. Provided by services.containers.

    Calls never overlap; what needs long must be handed on, for the next event waits.
    """

    async def task_event(self, event: Envelope_contra) -> None:
        """One event, in containerd's order. It may tell of what a `reconcile` already found."""
        ...

    async def reconcile(self) -> None:
        """Events may have been missed: list what containerd has, compare, act on the difference.

        May raise Unavailable or DeadlineExceeded: the stream then begins anew, which leads here.
        """
        ...


class EventStream(Generic[Envelope]):
    """Follows containerd for as long as it runs, over all its restarts."""

    def __init__(
        self,
        source: EventSource[Envelope],
        gate: ReadinessGate,
        handler: TaskEventHandler[Envelope],
        *,
        namespace: str,
        topics: Sequence[str],
    ) -> None:
        """`topics` are containerd's, such as /tasks/oom; nothing else is heard of."""
        self._source = source
        self._gate = gate
        self._handler = handler
        # No others: each exec has four, and their reading would be a good part of what it costs.
        self._filters = [f'namespace=="{namespace}",topic=="{topic}"' for topic in topics]
        self._reconciled = trio.Event()
        self._failures = 0  # since the last subscription that came as far as reconciling

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Subscribe, reconcile, hand on; again whenever the stream breaks. Until cancelled.

        Ready at once, for the daemon must come up without containerd; `wait_reconciled` says when
        the engine's picture is true. A handler's error ends it, and its supervisor decides.
        """
        task_status.started()
        while True:
            error = "it ended"
            try:
                await self._gate.wait_ready()
                await self._follow()
            except (Unavailable, DeadlineExceeded) as caught:
                error = str(caught)
            if self._failures % WARN_EVERY == 0:
                logger.bind(service="events").warning("event stream broke", error=error)
            self._failures += 1
            await trio.sleep(RETRY_S)

    @property
    def has_reconciled(self) -> bool:
        """Whether the engine has compared its picture with containerd's since it started."""
        return self._reconciled.is_set()

    async def wait_reconciled(self) -> None:
        """Wait for the first reconciliation since the daemon started."""
        await self._reconciled.wait()

    async def _follow(self) -> None:
        """One subscription, from looking around to its end."""
        async with self._source.subscribe(*self._filters) as events:
            await self._handler.reconcile()
            self._reconciled.set()
            self._failures = 0
            async for event in events:
                await self._handler.task_event(event)
