"""Health as a pure state machine: what is asked for, and what results lead to."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.containers.config import ContainerConfig, HealthConfig
from services.containers.health.rules import (
    HEALTH_TRANSITIONS,
    KEPT_OUTPUT_BYTES,
    KEPT_RESULTS,
    Health,
    HealthCheck,
    HealthEvent,
    HealthStatus,
    OutputHead,
    ProbeResult,
    after_probe,
    begun,
    go_duration,
    health_check_of,
    next_probe_s,
    timeout_text,
    unseen_health,
    unwatched,
)

CHECK = HealthCheck(
    command=("true",),
    interval_s=30.0,
    timeout_ns=30 * 10**9,
    retries=3,
    start_period_s=10.0,
    start_interval_s=1.0,
)


def result(code: int, number: int = 0) -> ProbeResult:
    return ProbeResult(started_at_ns=number, ended_at_ns=number, exit_code=code)


def check_of(test: list[str] | None, **options: Any) -> HealthCheck | None:
    shell = options.pop("shell", None)
    config = ContainerConfig(healthcheck=HealthConfig(test=test, **options))
    if shell:
        config = ContainerConfig(healthcheck=config.healthcheck, shell=shell)
    return health_check_of(config)


@pytest.mark.parametrize("test", [None, [], ["NONE"], ["WHAT", "x"]])
def test_no_check_is_asked_for(test: list[str] | None) -> None:
    """Without a test, with NONE, and with a kind that there is not, nothing is probed."""
    assert check_of(test) is None
    assert health_check_of(ContainerConfig()) is None


def test_the_kinds_of_test() -> None:
    """CMD is run as it is, CMD-SHELL by the image's shell or by /bin/sh -c."""
    plain, shell = check_of(["CMD", "a", "b"]), check_of(["CMD-SHELL", "a b"])
    own = check_of(["CMD-SHELL", "a b"], shell=["/bin/ash", "-ec"])
    assert plain is not None
    assert shell is not None
    assert own is not None
    assert plain.command == ("a", "b")
    assert shell.command == ("/bin/sh", "-c", "a b")
    assert own.command == ("/bin/ash", "-ec", "a b")


def test_dockerds_defaults() -> None:
    """Zero is 30 s, 30 s, 3, no start period, 5 s."""
    assert check_of(["CMD", "a"]) == HealthCheck(
        command=("a",),
        interval_s=30.0,
        timeout_ns=30 * 10**9,
        retries=3,
        start_period_s=0.0,
        start_interval_s=5.0,
    )
    asked = check_of(
        ["CMD", "a"],
        interval=10**9,
        timeout=2 * 10**9,
        retries=4,
        start_period=5,
        start_interval=6,
    )
    assert asked is not None
    assert (asked.interval_s, asked.timeout_s, asked.retries) == (1.0, 2.0, 4)
    assert (asked.start_period_s, asked.start_interval_s) == (5e-9, 6e-9)


def test_a_start_keeps_the_results_and_nothing_else() -> None:
    """As dockerd: `starting`, no failures, and the log of the run before."""
    before = Health(status=HealthStatus.UNHEALTHY, run_at_ns=1, failing_streak=7, log=(result(1),))
    assert begun(before, run_at_ns=2) == Health(
        status=HealthStatus.STARTING, run_at_ns=2, log=(result(1),)
    )
    assert begun(None, run_at_ns=2) == Health(status=HealthStatus.STARTING, run_at_ns=2)


def test_what_is_not_probed_is_unhealthy() -> None:
    """Paused and ended containers are, with their failures and results as they were."""
    before = Health(status=HealthStatus.HEALTHY, run_at_ns=1, log=(result(0),))
    assert unwatched(before) == replace(before, status=HealthStatus.UNHEALTHY)
    assert unseen_health(is_running=False).status is HealthStatus.UNHEALTHY
    assert unseen_health(is_running=True).status is HealthStatus.STARTING


LEADS_TO = {  # whatever it was before; FAILED leaves it as it was
    HealthEvent.BEGUN: HealthStatus.STARTING,
    HealthEvent.PASSED: HealthStatus.HEALTHY,
    HealthEvent.FAILED_OUT: HealthStatus.UNHEALTHY,
    HealthEvent.UNWATCHED: HealthStatus.UNHEALTHY,
}


@pytest.mark.parametrize(("status", "event"), list(itertools.product(HealthStatus, HealthEvent)))
def test_every_pair(status: HealthStatus, event: HealthEvent) -> None:
    """Each status knows what each event makes of it."""
    assert HEALTH_TRANSITIONS[event][status] is LEADS_TO.get(event, status)


@given(
    codes=st.lists(st.integers(-1, 255), max_size=12),
    status=st.sampled_from(HealthStatus),
    streak=st.integers(0, 5),
    retries=st.integers(1, 4),
    after_s=st.floats(0, 20),
)
def test_every_series_of_results(
    codes: list[int], status: HealthStatus, streak: int, retries: int, after_s: float
) -> None:
    """A success heals; only failures in a row make unhealthy; while starting they do not count."""
    check = replace(CHECK, retries=retries)
    health = Health(status=status, failing_streak=streak, run_at_ns=5)
    for number, code in enumerate(codes):
        before = health
        health = after_probe(before, check, result(code, number), probed_after_s=after_s)
        assert health.run_at_ns == 5
        assert health.log == (*before.log, result(code, number))[-KEPT_RESULTS:]
        if code == 0:
            assert (health.status, health.failing_streak) == (HealthStatus.HEALTHY, 0)
        elif before.status is HealthStatus.STARTING and after_s < check.start_period_s:
            assert (health.status, health.failing_streak) == (before.status, before.failing_streak)
        else:
            assert health.failing_streak == before.failing_streak + 1
            gave_up = health.failing_streak >= retries
            assert health.status is (HealthStatus.UNHEALTHY if gave_up else before.status)


@given(status=st.sampled_from(HealthStatus), running_for_s=st.floats(0, 100))
def test_the_start_interval_is_for_a_container_that_starts(
    status: HealthStatus, running_for_s: float
) -> None:
    """Once it was healthy, or its start period is over, the usual interval holds."""
    starts = status is HealthStatus.STARTING and running_for_s < CHECK.start_period_s
    wait_s = next_probe_s(Health(status=status), CHECK, running_for_s=running_for_s)
    assert wait_s == (1.0 if starts else 30.0)


@pytest.mark.parametrize(
    ("span_ns", "text"),
    [
        (1_000_000, "1ms"),
        (1_500_000, "1.5ms"),
        (500_000_000, "500ms"),
        (999_999_999, "999.999999ms"),
        (10**9, "1s"),
        (1_050_000_000, "1.05s"),
        (90 * 10**9, "1m30s"),
        (60 * 10**9, "1m0s"),
        (3600 * 10**9, "1h0m0s"),
        (3_661_500_000_000, "1h1m1.5s"),
    ],
)
def test_spans_are_printed_as_by_go(span_ns: int, text: str) -> None:
    """As in dockerd's text of a timeout."""
    assert go_duration(span_ns) == text


def test_the_text_of_a_timeout() -> None:
    """With what the probe had said, if anything."""
    assert timeout_text(10**9, "") == "Health check exceeded timeout (1s)"
    assert timeout_text(10**9, "hi") == "Health check exceeded timeout (1s): hi"


@given(blocks=st.lists(st.binary(max_size=3000), max_size=6))
def test_the_head_of_the_output_is_kept(blocks: list[bytes]) -> None:
    """4096 bytes, and a mark when there was more; the pieces it came in do not matter."""
    head = OutputHead()
    for block in blocks:
        head.add(block)
    whole = b"".join(blocks)
    mark = "..." if len(whole) > KEPT_OUTPUT_BYTES else ""
    assert head.text == whole[:KEPT_OUTPUT_BYTES].decode(errors="replace") + mark
