"""When a container is started again, and after how long."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.containers.config import RestartPolicy
from services.containers.runs.restart_policy import (
    RUN_COUNTS_AS_STABLE_S,
    Backoff,
    jittered_s,
    restart_delay_s,
    starts_with_daemon,
    wants_restart,
)

NEVER = RestartPolicy(name="no")
UNSET = RestartPolicy()
ALWAYS = RestartPolicy(name="always")
UNLESS_STOPPED = RestartPolicy(name="unless-stopped")
ON_FAILURE = RestartPolicy(name="on-failure")
THREE_TIMES = RestartPolicy(name="on-failure", maximum_retry_count=3)


@pytest.mark.parametrize(
    ("policy", "exit_code", "restarts", "wanted"),
    [
        (NEVER, 1, 0, False),
        (UNSET, 1, 0, False),
        (ALWAYS, 0, 0, True),
        (ALWAYS, 137, 10**6, True),
        (UNLESS_STOPPED, 0, 5, True),
        (ON_FAILURE, 0, 0, False),
        (ON_FAILURE, 1, 10**6, True),
        (THREE_TIMES, 1, 0, True),
        (THREE_TIMES, 1, 2, True),
        (THREE_TIMES, 1, 3, False),
        (THREE_TIMES, 0, 0, False),
    ],
)
def test_after_an_exit(policy: RestartPolicy, exit_code: int, restarts: int, wanted: bool) -> None:
    """Each policy; nothing comes back that somebody has stopped."""
    for stopped in (False, True):
        assert wants_restart(
            policy, exit_code=exit_code, restart_count=restarts, stopped_by_user=stopped
        ) is (wanted and not stopped)


@pytest.mark.parametrize(
    ("policy", "exit_code", "stopped", "starts"),
    [
        (NEVER, 1, False, False),
        (ALWAYS, 0, False, True),
        (ALWAYS, 0, True, True),  # "always" forgets that it was stopped
        (UNLESS_STOPPED, 0, False, True),
        (UNLESS_STOPPED, 0, True, False),
        (ON_FAILURE, 1, False, True),
        (ON_FAILURE, 1, True, False),
        (ON_FAILURE, 0, False, False),
    ],
)
def test_when_the_daemon_starts(
    policy: RestartPolicy, exit_code: int, stopped: bool, starts: bool
) -> None:
    """What is started that was found exited."""
    assert (
        starts_with_daemon(policy, exit_code=exit_code, restart_count=0, stopped_by_user=stopped)
        is starts
    )


def delays(count: int, backoff: Backoff) -> list[float]:
    """The first delays after runs that lasted no time."""
    delay_s, found = 0.0, []
    for _ in range(count):
        delay_s = restart_delay_s(delay_s, ran_for_s=0, backoff=backoff)
        found.append(delay_s)
    return found


def test_delays_double_up_to_a_minute() -> None:
    """0.1 s, 0.2 s, ... and never more than a minute: dockerd's."""
    found = delays(12, Backoff())
    assert found[:4] == pytest.approx([0.1, 0.2, 0.4, 0.8])
    assert found[-2:] == [60.0, 60.0]


BACKOFFS = st.builds(
    Backoff,
    first_s=st.floats(1e-3, 100),
    factor=st.floats(1, 1000),
    cap_s=st.floats(100, 1e5),
    jitter=st.floats(0, 1),
)


@given(BACKOFFS, st.floats(0, 1e5), st.floats(0, 1e6))
def test_a_run_that_lasted_starts_over(
    backoff: Backoff, previous_s: float, ran_for_s: float
) -> None:
    """Ten seconds count as stable; every delay is within the bounds."""
    previous_s = min(previous_s, backoff.cap_s)
    delay_s = restart_delay_s(previous_s, ran_for_s=ran_for_s, backoff=backoff)
    if ran_for_s >= RUN_COUNTS_AS_STABLE_S or previous_s == 0:
        assert delay_s == backoff.first_s
    assert 0 < delay_s <= backoff.cap_s


@given(BACKOFFS)
def test_delays_grow_until_the_cap(backoff: Backoff) -> None:
    """From the first on, by the factor."""
    found = delays(20, backoff)
    assert found[0] == backoff.first_s
    assert found == sorted(found)
    for before, after in itertools.pairwise(found):
        assert after == min(before * backoff.factor, backoff.cap_s)


@given(BACKOFFS, st.floats(0, 1))
def test_chance_makes_delays_shorter(backoff: Backoff, chance: float) -> None:
    """By at most the part that is left to it, so that the cap holds."""
    delay_s = jittered_s(10.0, backoff=backoff, chance=chance)
    assert 10.0 * (1 - backoff.jitter) <= delay_s + 1e-9
    assert delay_s <= 10.0
