"""One container in memory: its definition, its status, whose turn it is, who waits for its exit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import msgspec
import trio

from services.containers.health.rules import Health, health_check_of, unseen_health
from services.containers.model import ContainerId, Definition, ExitStatus, State, Status
from services.errors import Conflict, DeadlineExceeded, InvalidParameter

TURN_LIMIT_S: Final = 40.0
"""How long an operation waits for another one on the same container before it gives up."""

RESTORATION: Final = "its restoration"
"""The operation by which an engine takes over what it finds at its start."""


class ExitWaiter:
    """Who waits for one exit or for the removal. Made before the wait, so nothing is missed."""

    __slots__ = ("_event", "_status")

    def __init__(self) -> None:
        self._event = trio.Event()
        self._status: ExitStatus | None = None

    def set(self, status: ExitStatus) -> None:
        """Wake the waiter; only the first call counts."""
        if self._status is None:
            self._status = status
            self._event.set()

    async def wait(self) -> ExitStatus:
        """Block until it has happened."""
        await self._event.wait()
        assert self._status is not None
        return self._status


class Container:
    """The live handle of one container. Its identity is `id`; its values are replaced, not changed.

    Attributes:
        definition, status: what is also on disk. Replaced only by the journal, after the write.
        health: None without a health check and before the first start. In memory only: another
            engine begins anew, as dockerd does with what it finds running.
        unreadable_since_ns: since when its shim does not answer, so that its state is what was last
            known; None while it does. In memory only.
        revision: grows with every change, so that an encoded answer can be kept until then.
        writing: the journal's, for the time of one write.
    """

    def __init__(self, definition: Definition, status: Status) -> None:
        self.definition = definition
        self.status = status
        self.health = _unseen_health(definition, status)
        self.unreadable_since_ns: int | None = None
        self.revision = 0
        self.writing = trio.Lock()
        self._changed = trio.Event()
        self._turn = trio.Lock()
        self._turn_for = ""
        self._turn_since = 0.0
        self._restored: trio.Event | None = None  # while the engine has still to take it over
        self.oom_told_run = status.oom_told_run  # known before it is on disk
        self.ended_run = 0  # whose end is told, or about to be
        self._next_exit: set[ExitWaiter] = set()
        self._removed: set[ExitWaiter] = set()
        self._signals = 0  # that are being sent
        self._signals_told = trio.lowlevel.ParkingLot()

    @property
    def id(self) -> ContainerId:
        """The full id."""
        return self.definition.id

    @property
    def name(self) -> str:
        """The name, without Docker's slash."""
        return self.definition.name

    @property
    def state(self) -> State:
        """The present state."""
        return self.status.state

    @property
    def is_running(self) -> bool:
        """Docker's `Running`: paused and restarting count too."""
        return self.state in (State.RUNNING, State.PAUSED, State.RESTARTING)

    @property
    def is_busy(self) -> bool:
        """Whether an operation has its turn."""
        return self._turn.locked()

    def refuse_restarting(self) -> None:
        """Raises Conflict, in dockerd's words, while it waits for its restart."""
        if self.state is State.RESTARTING:
            raise Conflict(
                f"Container {self.id} is restarting, wait until the container is running"
            )

    def check_running(self) -> None:
        """Refuse what needs processes.

        Raises:
            Conflict: there are none, or there will be some again soon; in dockerd's words.
        """
        self.refuse_restarting()
        if not self.state.has_task:
            raise Conflict(f"container {self.id} is not running")

    @property
    def last_exit(self) -> ExitStatus:
        """How the last run ended; code 0 when there was none, as dockerd answers."""
        status = self.status
        return ExitStatus(
            code=status.exit_code,
            exited_at_ns=status.finished_at_ns,
            oom_killed=status.oom_killed,
            error=status.error,
        )

    @asynccontextmanager
    async def turn(self, operation: str, *, restores: bool = False) -> AsyncIterator[None]:
        """The right to change this container; operations take it in the order in which they came.

        While a restoration is expected all others wait for its end; it alone `restores`.

        Raises:
            DeadlineExceeded: another operation has held it for TURN_LIMIT_S; it is named.
        """
        with trio.move_on_after(TURN_LIMIT_S) as limit:
            if self._restored is not None and not restores:
                await self._restored.wait()
            await self._turn.acquire()
        if limit.cancelled_caught:
            held_s = round(trio.current_time() - self._turn_since)
            raise DeadlineExceeded(
                f"container {self.name} is busy: {self._turn_for} has been at work for {held_s} s; "
                f"try {operation} again later"
            )
        self._turn_for, self._turn_since = operation, trio.current_time()
        try:
            yield
        finally:
            self._turn.release()

    def expect_restoration(self) -> None:
        """From now on whoever wants a turn has it after the engine has taken the container over."""
        if self._restored is None:
            self._restored = trio.Event()
            self._turn_for, self._turn_since = RESTORATION, trio.current_time()

    def end_restoration(self) -> None:
        """The engine has taken the container over, or has given it up."""
        if self._restored is not None:
            self._restored.set()
            self._restored = None

    async def wait_restored(self) -> None:
        """Wait for the engine to take it over; not at all at any other time.

        Raises:
            DeadlineExceeded: as `turn`.
        """
        if self._restored is not None:
            async with self.turn("this"):
                pass

    async def settle(self) -> None:
        """Wait for a start that is under way, so that what follows sees whether it runs.

        A client that has read the first output takes the container for running, and the record
        of the start may not be written yet. dockerd's lock on the container does the same.

        Raises:
            DeadlineExceeded: as `turn`.
        """
        await self.wait_restored()
        if self.state in (State.CREATED, State.EXITED) and self._turn.locked():
            async with self.turn("this"):
                pass

    def replace(
        self, *, definition: Definition | None = None, status: Status | None = None
    ) -> None:
        """Take over values that are on disk."""
        self.definition = definition or self.definition
        self.status = status or self.status
        if not self.status.state.has_task:
            self.unreadable_since_ns = None
        self._tell_changed()

    def set_health(self, health: Health) -> None:
        """Take over what the probes say."""
        self.health = health
        self._tell_changed()

    def set_unreadable(self, since_ns: int | None) -> None:
        """Take over whether its shim answers."""
        self.unreadable_since_ns = since_ns
        self._tell_changed()

    async def wait_changed(self) -> None:
        """Block until the next change of definition, status or health."""
        await self._changed.wait()

    def _tell_changed(self) -> None:
        self.revision += 1
        self._changed.set()
        self._changed = trio.Event()

    def waiter(self, condition: str) -> ExitWaiter:
        """Register for `not-running`, `next-exit` or `removed` (Engine API, ContainerWait).

        Raises:
            InvalidParameter: there is no such condition.
        """
        waiter = ExitWaiter()
        match condition:
            case "" | "not-running":
                if self.is_running:
                    self._next_exit.add(waiter)
                else:
                    waiter.set(self.last_exit)
            case "next-exit":
                self._next_exit.add(waiter)
            case "removed":
                self._removed.add(waiter)
            case _:
                raise InvalidParameter(f'invalid condition: "{condition}"')
        return waiter

    @contextmanager
    def signalling(self) -> Iterator[None]:
        """A signal is sent, and told of: what comes of it is told afterwards."""
        self._signals += 1
        try:
            yield
        finally:
            self._signals -= 1
            if not self._signals:
                self._signals_told.unpark_all()

    async def wait_signals_told(self) -> None:
        """Block while a signal is being sent or told of."""
        while self._signals:
            await self._signals_told.park()

    def forget_waiter(self, waiter: ExitWaiter) -> None:
        """Its owner has left."""
        self._next_exit.discard(waiter)
        self._removed.discard(waiter)

    def tell_exited(self, status: ExitStatus) -> None:
        """Wake who waits for an exit."""
        waiters, self._next_exit = self._next_exit, set()
        for waiter in waiters:
            waiter.set(status)

    def tell_removed(self) -> None:
        """Wake everybody: who waits for an exit of a container that is gone would wait for ever."""
        last = msgspec.structs.replace(self.last_exit, error="")
        waiters = self._next_exit | self._removed
        self._next_exit, self._removed = set(), set()
        for waiter in waiters:
            waiter.set(last)


def _unseen_health(definition: Definition, status: Status) -> Health | None:
    if status.runs == 0 or health_check_of(definition.config) is None:
        return None
    return unseen_health(is_running=status.state.has_task)
