"""What a container's health is, and what a probe's result makes of it. Pure.

Source: Docker documentation, HEALTHCHECK; where it is silent, what dockerd answers.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from services.containers.config import ContainerConfig, HealthConfig

DEFAULT_INTERVAL_NS: Final = 30_000_000_000
DEFAULT_TIMEOUT_NS: Final = 30_000_000_000
DEFAULT_START_INTERVAL_NS: Final = 5_000_000_000
DEFAULT_RETRIES: Final = 3
DEFAULT_SHELL: Final = ("/bin/sh", "-c")

KEPT_RESULTS: Final = 5
KEPT_OUTPUT_BYTES: Final = 4096

PROBE_FAILED: Final = -1
"""The exit code of a probe that was killed, or that could not be run."""


class HealthStatus(enum.StrEnum):
    """The value is the Engine API's `Health.Status`."""

    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


class HealthEvent(enum.StrEnum):
    """What can happen to a container's health."""

    BEGUN = "begun"  # the container was started
    PASSED = "passed"
    FAILED = "failed"  # and not often enough in a row, or still in the start period
    FAILED_OUT = "failed as often as is allowed"
    UNWATCHED = "unwatched"  # the container has ended or is paused


HEALTH_TRANSITIONS: Final[Mapping[HealthEvent, Mapping[HealthStatus, HealthStatus]]] = (
    MappingProxyType(
        {
            HealthEvent.BEGUN: dict.fromkeys(HealthStatus, HealthStatus.STARTING),
            HealthEvent.PASSED: dict.fromkeys(HealthStatus, HealthStatus.HEALTHY),
            HealthEvent.FAILED: {status: status for status in HealthStatus},
            HealthEvent.FAILED_OUT: dict.fromkeys(HealthStatus, HealthStatus.UNHEALTHY),
            # As clients of dockerd see it; there is no event of it.
            HealthEvent.UNWATCHED: dict.fromkeys(HealthStatus, HealthStatus.UNHEALTHY),
        }
    )
)
"""Which status follows which: every pair is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """How a container is probed; dockerd's defaults are filled in."""

    command: tuple[str, ...]
    interval_s: float
    timeout_ns: int
    retries: int
    start_period_s: float
    start_interval_s: float

    @property
    def timeout_s(self) -> float:
        """How long one probe may run, from the moment it has started."""
        return self.timeout_ns / 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """What one probe said. Instants are nanoseconds since the epoch."""

    started_at_ns: int
    ended_at_ns: int
    exit_code: int
    output: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """A container's health: the newest results last, at most KEPT_RESULTS of them.

    `run_at_ns` is the start of the run that it is about, 0 for a run that this engine did not see.
    """

    status: HealthStatus
    run_at_ns: int = 0
    failing_streak: int = 0
    log: tuple[ProbeResult, ...] = ()


def health_check_of(config: ContainerConfig) -> HealthCheck | None:
    """The check that a container's configuration (merged with its image's) asks for.

    None without one, for NONE, and for a kind of test that there is not: dockerd ignores that too.
    """
    health = config.healthcheck
    if not isinstance(health, HealthConfig) or not health.test:
        return None
    kind, *words = health.test
    match kind:
        case "CMD":
            command = tuple(words)
        case "CMD-SHELL":
            command = (*(config.shell or DEFAULT_SHELL), *words)
        case _:
            return None
    return HealthCheck(
        command=command,
        interval_s=(health.interval or DEFAULT_INTERVAL_NS) / 1e9,
        timeout_ns=health.timeout or DEFAULT_TIMEOUT_NS,
        retries=health.retries or DEFAULT_RETRIES,
        start_period_s=health.start_period / 1e9,
        start_interval_s=(health.start_interval or DEFAULT_START_INTERVAL_NS) / 1e9,
    )


def unseen_health(*, is_running: bool) -> Health:
    """Of a container that ran under an earlier engine, whose results are not known any more."""
    return Health(status=HealthStatus.STARTING if is_running else HealthStatus.UNHEALTHY)


def begun(before: Health | None, *, run_at_ns: int) -> Health:
    """At each start of a container. As in dockerd the results of earlier runs stay to be read."""
    health = before or Health(status=HealthStatus.STARTING)
    status = HEALTH_TRANSITIONS[HealthEvent.BEGUN][health.status]
    return Health(status=status, run_at_ns=run_at_ns, log=health.log)


def unwatched(health: Health) -> Health:
    """Of a container that has ended or is paused: for clients of dockerd it is unhealthy."""
    return replace(health, status=HEALTH_TRANSITIONS[HealthEvent.UNWATCHED][health.status])


def after_probe(
    health: Health, check: HealthCheck, result: ProbeResult, *, probed_after_s: float
) -> Health:
    """The health that `result` leads to; the probe began `probed_after_s` after the container."""
    streak = health.failing_streak
    is_starting = health.status is HealthStatus.STARTING and probed_after_s < check.start_period_s
    if result.exit_code == 0:
        event, streak = HealthEvent.PASSED, 0
    elif is_starting:
        event = HealthEvent.FAILED
    else:
        streak += 1
        event = HealthEvent.FAILED_OUT if streak >= check.retries else HealthEvent.FAILED
    return replace(
        health,
        status=HEALTH_TRANSITIONS[event][health.status],
        failing_streak=streak,
        log=(*health.log, result)[-KEPT_RESULTS:],
    )


def next_probe_s(health: Health, check: HealthCheck, *, running_for_s: float) -> float:
    """How long to wait for the next probe, from the end of the last one."""
    is_starting = health.status is HealthStatus.STARTING and running_for_s < check.start_period_s
    return check.start_interval_s if is_starting else check.interval_s


def timeout_text(timeout_ns: int, output: str) -> str:
    """dockerd's, for the output of a probe that was killed."""
    text = f"Health check exceeded timeout ({go_duration(timeout_ns)})"
    return f"{text}: {output}" if output else text


def go_duration(span_ns: int) -> str:
    """A span of a millisecond or more as Go prints it: 500ms, 1.5s, 1m30s, 1h0m0s."""
    if span_ns < 10**9:
        return f"{_decimal(span_ns, 10**6)}ms"
    minutes, rest_ns = divmod(span_ns, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{_decimal(rest_ns, 10**9)}s"
    if hours:
        return f"{hours}h{minutes}m{seconds}"
    return f"{minutes}m{seconds}" if minutes else seconds


def _decimal(amount: int, unit: int) -> str:
    whole, fraction = divmod(amount, unit)
    digits = str(unit + fraction)[1:].rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)


class OutputHead:
    """The first KEPT_OUTPUT_BYTES of a probe's output; what follows is dropped and marked."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._is_cut = False

    def add(self, data: bytes) -> None:
        """Take what there is room for."""
        room = KEPT_OUTPUT_BYTES - len(self._data)
        self._data += data[:room]
        self._is_cut = self._is_cut or len(data) > room

    @property
    def text(self) -> str:
        """As JSON can carry it: what is not UTF-8 is replaced."""
        return self._data.decode(errors="replace") + ("..." if self._is_cut else "")
