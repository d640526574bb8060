"""A rule is asked, what it decides is written, and it is asked again when something changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import trio

from services.cluster.etcd.values import Batch, KeyValue
from services.cluster.leader.rule_loop import INLINE_TASKS, RuleLoop
from services.cluster.model.objects import Node, Task
from services.cluster.model.snapshot import Decision, Diff, Put, Snapshot, Transaction
from services.cluster.store import OutOfSequence
from services.cluster.store.codec import Codec, key_of
from services.cluster.store.mirror import Mirror
from services.cluster.store.objects import StoredSnapshot
from services.errors import Unavailable

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class FakeStore:
    """A mirror with nothing below it. `refusals` are raised by the next commits."""

    def __init__(self) -> None:
        self.mirror = Mirror(Codec())
        self.mirror.replace_all([], 1)
        self.refusals: list[Exception] = []
        self.commits: list[tuple[Transaction, ...]] = []

    def snapshot(self) -> StoredSnapshot:
        return self.mirror.snapshot()

    async def commit(self, *transactions: Transaction) -> int:
        await trio.lowlevel.checkpoint()
        if self.refusals:
            raise self.refusals.pop(0)
        self.commits.append(transactions)
        return self.mirror.revision

    async def changed_since(self, revision: int) -> Diff:
        while (diff := self.mirror.changed_since(revision)) is None:
            await self.mirror.moved()
        return diff

    def session(self, *_: object, **__: object) -> None:
        raise NotImplementedError


class Asked:
    """A rule that notes what it was asked, and decides as it was told."""

    def __init__(self, *decisions: Decision) -> None:
        self.diffs: list[Diff] = []
        self.times: list[float] = []
        self._decisions = list(decisions)

    def decide(self, _snapshot: Snapshot, diff: Diff, now: datetime) -> Decision:
        self.diffs.append(diff)
        self.times.append(trio.current_time())
        assert now == NOW
        return self._decisions.pop(0) if self._decisions else Decision()


NODE = Node(id="n", created_at=NOW, updated_at=NOW)
WRITE = Decision(transactions=(Transaction((Put(NODE),)),))


async def run_for(seconds: float, store: FakeStore, make_rule: Callable[[], Asked]) -> None:
    loop = RuleLoop("test", make_rule, store, clock=lambda: NOW)  # type: ignore[arg-type]
    with trio.move_on_after(seconds):
        await loop.run()


async def test_a_rule_sees_everything_first_and_is_then_left_alone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """What does not change is not asked about again."""
    store, rule = FakeStore(), Asked()
    await run_for(60, store, lambda: rule)
    assert rule.diffs == [Diff(is_whole=True)]


async def test_a_rule_may_ask_to_be_asked_again(autojump_clock: trio.testing.MockClock) -> None:
    """After that long, with an empty diff."""
    store, rule = FakeStore(), Asked(Decision(again_in_s=5.0))
    await run_for(60, store, lambda: rule)
    assert rule.diffs == [Diff(is_whole=True), Diff()]
    assert rule.times[1] - rule.times[0] == pytest.approx(5.0, abs=0.1)


async def test_after_a_conflict_the_rule_decides_once_more(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """At once, although nothing else has changed; what it had decided is forgotten."""
    store, rule = FakeStore(), Asked(WRITE, WRITE)
    store.refusals = [OutOfSequence("update out of sequence")]
    await run_for(60, store, lambda: rule)
    assert len(rule.diffs) == 2
    assert len(store.commits) == 1


async def test_after_an_outage_the_rule_is_made_anew(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """And sees everything, for nobody knows what was written."""
    store, rules = FakeStore(), [Asked(WRITE), Asked()]
    store.refusals = [Unavailable("no quorum")]
    made = iter(rules)
    await run_for(60, store, lambda: next(made))
    assert [len(rule.diffs) for rule in rules] == [1, 1]
    assert rules[1].diffs[0].is_whole


async def test_conflicts_that_do_not_end_do_not_burn_the_processor(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """They come more and more slowly."""
    store, rule = FakeStore(), Asked(*[WRITE] * 1000)
    store.refusals = [OutOfSequence("update out of sequence")] * 1000
    await run_for(60, store, lambda: rule)
    assert len(rule.diffs) < 100


class LateStore(FakeStore):
    """Something changes in the very instant in which the waiting for it is given up."""

    async def changed_since(self, revision: int) -> Diff:
        try:
            return await super().changed_since(revision)
        except trio.Cancelled:
            if self.mirror.revision == 1:
                key = key_of(NODE)
                self.mirror.apply(Batch(2, [KeyValue(key, Codec().encode(NODE), 2, 2)]))
            raise


async def test_what_comes_as_the_time_is_over_is_not_lost(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The snapshot that follows has it, so the diff must have it too."""
    store, rule = LateStore(), Asked(Decision(again_in_s=5.0))
    await run_for(60, store, lambda: rule)
    assert [[one.id for one in diff.put] for diff in rule.diffs] == [[], ["n"]]


async def test_a_look_at_much_is_a_threads(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the first one is: later ones cost what has changed."""
    threaded: list[bool] = []

    async def in_thread(decide: Callable[..., Decision], *arguments: object) -> Decision:
        threaded.append(True)
        return decide(*arguments)

    monkeypatch.setattr(trio.to_thread, "run_sync", in_thread)
    store, rule = FakeStore(), Asked(Decision(again_in_s=1.0))
    tasks = [Task(id=str(n), created_at=NOW, updated_at=NOW) for n in range(INLINE_TASKS + 1)]
    keys = [KeyValue(key_of(one), Codec().encode(one), 2, 2) for one in tasks]
    store.mirror.replace_all(keys, 2)
    await run_for(60, store, lambda: rule)
    assert len(rule.diffs) == 2
    assert threaded == [True]
