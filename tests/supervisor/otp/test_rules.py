"""strategy.py and intensity.py: the rules over every case."""

from __future__ import annotations

import itertools

import pytest

from supervisor.otp import AutoShutdown, Intensity, Restart, Strategy
from supervisor.otp.intensity import RestartLog
from supervisor.otp.strategy import ExitKind, is_restarted, is_shutdown_due, restarted_with


@pytest.mark.parametrize(("restart", "kind"), list(itertools.product(Restart, ExitKind)))
def test_is_restarted(restart: Restart, kind: ExitKind) -> None:
    """The table of OTP: rows are restart types, columns ways to end."""
    table = {
        Restart.PERMANENT: {ExitKind.NORMAL, ExitKind.SHUTDOWN, ExitKind.CRASH},
        Restart.TRANSIENT: {ExitKind.CRASH},
        Restart.TEMPORARY: set(),
    }
    assert is_restarted(restart, kind) == (kind in table[restart])


@pytest.mark.parametrize(
    ("strategy", "failed", "expected"),
    [
        (Strategy.ONE_FOR_ONE, "b", "b"),
        (Strategy.ONE_FOR_ALL, "b", "abc"),
        (Strategy.REST_FOR_ONE, "a", "abc"),
        (Strategy.REST_FOR_ONE, "b", "bc"),
        (Strategy.REST_FOR_ONE, "c", "c"),
    ],
)
def test_restarted_with(strategy: Strategy, failed: str, expected: str) -> None:
    """Who goes with whom, in start order."""
    assert tuple(restarted_with(strategy, ("a", "b", "c"), failed)) == tuple(expected)


@pytest.mark.parametrize("significant", [True, False])
@pytest.mark.parametrize("others", [(), (False,), (True,), (False, True)])
def test_is_shutdown_due(significant: bool, others: tuple[bool, ...]) -> None:
    """Never; when it is significant; when it is and no other significant one is left."""
    due = {
        auto: is_shutdown_due(auto, significant=significant, others=others) for auto in AutoShutdown
    }
    assert due == {
        AutoShutdown.NEVER: False,
        AutoShutdown.ANY_SIGNIFICANT: significant,
        AutoShutdown.ALL_SIGNIFICANT: significant and True not in others,
    }


def test_intensity_counts_within_its_window() -> None:
    """2 in 10 s: the third within 10 s is too many, and the edge of the window is in it."""
    log = RestartLog(Intensity(max_restarts=2, window_s=10.0))
    assert [log.add(at) for at in (0.0, 5.0)] == [True, True]
    assert log.left(5.0) == 0
    assert not log.add(10.0)
    assert log.left(15.1) == 1
    assert log.add(15.1)


def test_no_restarts_at_all() -> None:
    """Intensity 0: the first is too many."""
    assert not RestartLog(Intensity(max_restarts=0)).add(0.0)


def test_clear() -> None:
    """A supervisor that is started anew has all its restarts again."""
    log = RestartLog(Intensity(max_restarts=1))
    log.add(0.0)
    log.clear()
    assert log.left(0.0) == 1
