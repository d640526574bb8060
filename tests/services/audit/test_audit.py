"""An audit tells what stays wrong, and mends when it is asked to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
import trio

from services.audit import Audit, Checked, Finding
from services.audit.audit import CHECK_LIMIT_S, MEND_LIMIT_S, PAUSE_S
from services.errors import Unavailable


def finding(subject: str) -> Finding:
    """Something wrong with `subject`."""
    return Finding(kind="things", subject=subject, text="it is wrong")


@dataclass
class Things:
    """A check that finds what is in `wrong` now; `before_look` is called first."""

    wrong: set[str] = field(default_factory=set)
    before_look: Callable[[], object] = lambda: None
    kind: str = "things"
    looks: list[float] = field(default_factory=list)
    lasts_s: float = 0.0

    async def look(self) -> Sequence[Finding]:
        self.looks.append(trio.current_time())
        self.before_look()
        await trio.sleep(self.lasts_s)
        return [finding(subject) for subject in self.wrong]


async def test_what_is_right_is_looked_at_once(autojump_clock: trio.testing.MockClock) -> None:
    """A clean machine costs one look."""
    things = Things()
    report = await Audit([things], mends=[]).run()
    assert report.is_clean
    assert len(things.looks) == 1


async def test_what_is_on_its_way_is_not_told(autojump_clock: trio.testing.MockClock) -> None:
    """Only what two looks find, with a pause between them."""
    things = Things({"passing", "lasting"})

    def look() -> None:
        if len(things.looks) == 2:
            things.wrong = {"new", "lasting"}

    things.before_look = look
    report = await Audit([things], mends=[]).run()
    assert report.findings == (finding("lasting"),)
    assert things.looks[1] - things.looks[0] == PAUSE_S


@pytest.mark.parametrize("repair", [True, False])
async def test_mending_is_asked_for(autojump_clock: trio.testing.MockClock, repair: bool) -> None:
    """What is mended is told as such, what is left as wrong; unasked nothing is done."""
    things = Things({"a", "b"})

    async def mend() -> None:
        things.wrong.discard("a")

    report = await Audit([things], mends=[mend]).run(repair=repair)
    assert report.mended == ((finding("a"),) if repair else ())
    assert report.findings == ((finding("b"),) if repair else (finding("a"), finding("b")))
    assert not report.is_clean


async def test_a_check_that_fails_or_hangs_is_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The others tell what they find; nothing is clean that could not be looked at."""

    class Away(Things):
        async def look(self) -> Sequence[Finding]:
            raise Unavailable("containerd is away")

    checks = [Away(kind="away"), Things(kind="stuck", lasts_s=1000), Things({"a"})]
    report = await Audit(checks, mends=[]).run()
    away, stuck, things = report.checks
    assert (away.error, stuck.findings) == ("containerd is away", ())
    assert f"{CHECK_LIMIT_S:g} s" in stuck.error
    assert things == Checked(kind="things", findings=(finding("a"),))
    assert not report.is_clean


async def test_a_mend_that_fails_keeps_no_other(autojump_clock: trio.testing.MockClock) -> None:
    """Each under its limit; what kept one from its end is told."""
    things = Things({"a"})

    async def away() -> None:
        raise Unavailable("containerd is away")

    async def stuck() -> None:
        await trio.sleep_forever()

    async def mend() -> None:
        things.wrong.clear()

    report = await Audit([things], mends=[away, stuck, mend]).run(repair=True)
    assert report.mended == (finding("a"),)
    assert report.mend_errors == ("containerd is away", f"not done in {MEND_LIMIT_S:g} s")


async def test_audits_take_turns(autojump_clock: trio.testing.MockClock) -> None:
    """Two at once would mend under each other's eyes."""
    things = Things(lasts_s=2)
    audit = Audit([things], mends=[])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(audit.run)
        nursery.start_soon(audit.run)
    assert things.looks[1] - things.looks[0] == 2
