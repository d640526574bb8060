"""Reloads of the configuration: asked for by a signal or a client, carried out one at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Final

import trio
from loguru import logger

from services.errors import Conflict, DeadlineExceeded, EngineError, InvalidParameter
from supervisor.configuration.in_force import Current, InForce
from supervisor.configuration.settings import ConfigError, Settings
from supervisor.otp import Outcome
from supervisor.process.notify import Notifier

if TYPE_CHECKING:
    from .plan import Plan
    from .steps import Changer

log = logger.bind(service="reload")

WAITING_LIMIT: Final = 8
ANSWER_S: Final = 120.0
ANNOUNCE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class _Request:
    dry_run: bool
    answer: Outcome[Plan]


class Reloader:
    """`run` is a supervised child. A failure leaves everything as it was, and `warnings` say so."""

    def __init__(
        self,
        *,
        current: Current,
        read: Callable[[], Settings],
        prepare: Callable[[Settings], InForce],
        make_changer: Callable[[], Changer],
        notifier: Notifier,
        announce: Callable[[str], Awaitable[object]],
    ) -> None:
        """`read` and `prepare` block: what the file says, and what that names, checked.

        `announce` tells of a reload in the events; it is given the error, or "".
        """
        self._current = current
        self._read = read
        self._prepare = prepare
        self._make_changer = make_changer
        self._notifier = notifier
        self._announce = announce
        self._send, self._requests = trio.open_memory_channel[_Request](WAITING_LIMIT)
        self._failure = ""
        self._waiting: tuple[str, ...] = ()

    @cached_property
    def _changer(self) -> Changer:
        return self._make_changer()

    @property
    def warnings(self) -> tuple[str, ...]:
        """For /info: that the last reload failed, and what waits for a restart of the daemon."""
        failed = (f"WARNING: {self._failure}",) if self._failure else ()
        if not self._waiting:
            return failed
        names = ", ".join(self._waiting)
        return (*failed, f"WARNING: changed settings wait for a restart of the daemon: {names}")

    async def reload(self, *, dry_run: bool = False) -> Plan:
        """Read the file again and act on it, or with `dry_run` only find out what that would take.

        What was done. It is carried through even if the caller is cancelled.

        Raises:
            InvalidParameter: the file, or one that it names, cannot be used; nothing has changed.
            EngineError: a part did not come up with the new settings; the old ones are in force.
            Conflict: too many reloads are waiting.
            DeadlineExceeded: it takes too long; how it ends is in the log.
        """
        request = _Request(dry_run, Outcome())
        try:
            self._send.send_nowait(request)
        except trio.WouldBlock:
            raise Conflict("too many reloads of the configuration are waiting") from None
        with trio.move_on_after(ANSWER_S):
            return await request.answer.wait()
        raise DeadlineExceeded(f"the reload has not ended after {ANSWER_S:g} s; the log will tell")

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Carry out what is asked for, one after the other, until cancelled."""
        task_status.started()
        async for request in self._requests.clone():
            try:
                request.answer.set(await self._carry_out(dry_run=request.dry_run))
            except EngineError as error:
                request.answer.set_error(error)
            except BaseException:
                request.answer.set_error(EngineError("the reload was cut off, and undone"))
                raise
            await self._changer.settle()

    async def _carry_out(self, *, dry_run: bool) -> Plan:
        if dry_run:
            plan, _ = await self._plan()
            return plan
        self._notifier.reloading()
        try:
            return await self._reload()
        finally:
            self._notifier.ready("serving")

    async def _reload(self) -> Plan:
        try:
            plan, new = await self._plan()
            await self._change(new)
        except EngineError as error:
            self._failure = str(error)
            log.error("configuration not reloaded, the old one stays", error=str(error))
            await self._tell(str(error))
            raise
        self._failure, self._waiting = "", plan.waiting
        for name in plan.waiting:
            log.warning("setting needs a restart of the daemon", setting=name)
        restarted = [part.path for part in plan.parts]
        log.info("configuration reloaded", changed=list(plan.live), restarted=restarted)
        await self._tell("")
        return plan

    async def _plan(self) -> tuple[Plan, InForce]:
        try:
            wanted = await trio.to_thread.run_sync(self._read_anew)
            from .plan import make_plan

            plan = make_plan(self._current.settings(), wanted)
            new = await trio.to_thread.run_sync(partial(self._prepare, plan.target))
        except ConfigError as error:
            raise InvalidParameter(str(error)) from error
        return plan, new

    def _read_anew(self) -> Settings:
        """Blocks. A first reload imports in this thread what it needs, not on the loop later."""
        from . import plan, steps, transaction  # noqa: F401

        return self._read()

    async def _change(self, new: InForce) -> None:
        from .transaction import StepFailed, take_steps

        old = self._current.in_force
        try:
            await take_steps(self._changer.steps(new))
        except StepFailed as error:
            raise EngineError(f"the new configuration does not work: {error}") from error
        await self._changer.finish(old, new)

    async def _tell(self, error: str) -> None:
        """The event is for those who listen now; the reload does not depend on it."""
        with trio.move_on_after(ANNOUNCE_S) as scope:
            try:
                await self._announce(error)
            except EngineError as failure:
                log.warning("reload not told of in the events", error=str(failure))
        if scope.cancelled_caught:
            log.warning("reload not told of in the events", after_s=ANNOUNCE_S)
