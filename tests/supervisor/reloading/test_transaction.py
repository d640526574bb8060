"""supervisor.reloading.transaction: all steps, or none."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from supervisor.reloading.transaction import REVERT_S, Step, StepFailed, take_steps


class Record:
    """Makes steps that write down what happens to them."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def step(
        self, name: str, *, apply: object = None, revert: object = None, takes_s: float = 0.0
    ) -> Step:
        """`apply` and `revert` are errors to raise; `takes_s` is how long each takes."""

        async def act(what: str, error: object) -> None:
            self.done.append(f"{what}{name}")
            await trio.sleep(takes_s)
            if isinstance(error, BaseException):
                raise error

        return Step(name=name, apply=lambda: act("+", apply), revert=lambda: act("-", revert))


async def test_all_steps_are_taken_in_order() -> None:
    """And nothing is undone."""
    record = Record()
    await take_steps([record.step(name) for name in "abc"])
    assert record.done == ["+a", "+b", "+c"]


async def test_a_failure_undoes_all_in_reverse() -> None:
    """The failed one first: it may have come halfway."""
    record = Record()
    with pytest.raises(StepFailed, match=r"^b: no$") as failed:
        await take_steps(
            [record.step("a"), record.step("b", apply=OSError("no")), record.step("c")]
        )
    assert record.done == ["+a", "+b", "-b", "-a"]
    assert failed.value.not_undone == ()


async def test_an_undoing_that_fails_is_told_and_the_others_are_done() -> None:
    """People must know what is neither old nor new."""
    record = Record()
    with pytest.raises(StepFailed, match=r"^b: no \(and not undone: b\)$"):
        await take_steps(
            [record.step("a"), record.step("b", apply=OSError("no"), revert=OSError("never"))]
        )
    assert record.done == ["+a", "+b", "-b", "-a"]


async def test_an_undoing_that_hangs_is_given_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """After its limit, and the others are done."""
    record = Record()
    stuck = Step(name="b", apply=record.step("b", apply=OSError("no")).apply,
                 revert=trio.sleep_forever)  # fmt: skip
    began = trio.current_time()
    with pytest.raises(StepFailed, match="not undone: b"):
        await take_steps([record.step("a"), stuck])
    assert record.done == ["+a", "+b", "-a"]
    assert trio.current_time() - began == REVERT_S


async def test_a_cancellation_undoes_as_well(autojump_clock: trio.testing.MockClock) -> None:
    """In the middle of a step; the undoing itself is not cancelled."""
    record = Record()
    with trio.move_on_after(1.5) as scope:
        await take_steps([record.step(name, takes_s=1.0) for name in "abc"])
    assert scope.cancelled_caught
    assert record.done == ["+a", "+b", "-b", "-a"]
