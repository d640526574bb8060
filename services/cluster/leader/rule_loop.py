"""One rule of the leader, asked again and again: what it decides is written."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol

import trio
from loguru import logger

from services.cluster.model.snapshot import Decision, Diff, Snapshot
from services.cluster.model.wire import utc_now
from services.cluster.store.contract import ClusterStore, LeadershipLost
from services.errors import Conflict, EngineError, Unavailable

SPACING_S: Final = 0.01  # between two questions, so that changes come in batches under load
RETRY_S: Final = 0.05  # after a conflict; grows with the number of them in a row
RETRY_MAX_S: Final = 1.0
INLINE_TASKS: Final = 2000  # a first look takes up to 15 µs a task
LOST_S: Final = 0.5  # whoever runs us notices before that


class Rule(Protocol):
    """A function from what is to what is to be written. It may keep what it can build again."""

    def decide(self, snapshot: Snapshot, diff: Diff, now: datetime) -> Decision:
        """`diff` leads from the snapshot of the last question to this one."""


class RuleLoop:
    """A supervised child. The rule is made anew whenever it starts, and after each trouble."""

    def __init__(
        self,
        name: str,
        make_rule: Callable[[], Rule],
        store: ClusterStore,
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.name: Final = name
        self._make_rule = make_rule
        self._store = store
        self._clock = clock
        self._log = logger.bind(service=f"cluster.{name}")

    async def run(self) -> None:
        """Until cancelled."""
        failures = 0
        while True:
            try:
                await self._run_one(self._make_rule())
            except (LeadershipLost, Unavailable) as error:
                self._log.bind(error=str(error)).warning("a decision was not written")
                await trio.sleep(LOST_S)
            except EngineError as error:
                # Something the rule may mend when it looks at everything anew.
                failures += 1
                self._log.bind(error=str(error)).warning("a decision was refused")
                await trio.sleep(min(RETRY_S * failures, RETRY_MAX_S))

    async def _run_one(self, rule: Rule) -> None:
        """Ask `rule` until something but a conflict is in the way."""
        diff: Diff = Diff(is_whole=True)
        conflicts = 0
        while True:
            snapshot = self._store.snapshot()
            decision = await self._ask(rule, snapshot, diff)
            for note in decision.notes:
                self._log.info("{}", note)
            conflicts = 0 if await self._write(decision) else conflicts + 1
            await trio.sleep(min(SPACING_S + RETRY_S * conflicts, RETRY_MAX_S))
            diff = await self._next(snapshot.revision, decision, conflicts)

    async def _ask(self, rule: Rule, snapshot: Snapshot, diff: Diff) -> Decision:
        """A look at everything takes long where there is much, and a leader that does not answer
        for that long loses its lease. So that is a thread's; snapshots do not change."""
        now = self._clock()
        if diff.is_whole and len(snapshot.tasks) > INLINE_TASKS:
            return await trio.to_thread.run_sync(rule.decide, snapshot, diff, now)
        return rule.decide(snapshot, diff, now)

    async def _write(self, decision: Decision) -> bool:
        """Whether all was written. What follows a conflict is not: the rule decides once more."""
        try:
            if decision.transactions:
                await self._store.commit(*decision.transactions)
        except LeadershipLost:
            raise
        except Conflict as error:
            self._log.bind(error=str(error)).debug("a decision is out of date")
            return False
        return True

    async def _next(self, revision: int, decision: Decision, conflicts: int) -> Diff:
        """What has changed by the time that the rule is to be asked again."""
        again_in_s = 0.0 if conflicts else decision.again_in_s
        if again_in_s is None:
            return await self._store.changed_since(revision)
        for wait_s in (again_in_s, 0.0):
            # The second look is for what came in the instant in which the time was over: the next
            # snapshot has it, and no later diff would.
            with trio.move_on_after(wait_s):
                return await self._store.changed_since(revision)
        return Diff()
