"""When Docker starts a container again, and after how long.

Pure: the caller owns the clock, the sleep and the dice. Source: Docker documentation, "Start
containers automatically"; moby, restartmanager: it waits 100 ms, doubles that to at most a minute,
and starts over once a run has lasted 10 s. Labels change these figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from services.containers.config import RestartPolicy

RUN_COUNTS_AS_STABLE_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How restarts are put off; the defaults are dockerd's.

    `jitter` is the part of each delay that is left to chance: of many containers that fail
    together not all come back together.
    """

    first_s: float = 0.1
    factor: float = 2.0
    cap_s: float = 60.0
    jitter: float = 0.0


def wants_restart(
    policy: RestartPolicy, *, exit_code: int, restart_count: int, stopped_by_user: bool
) -> bool:
    """Whether an exit is followed by another start.

    `restart_count` is the number of restarts since the container was last started by hand.
    """
    if stopped_by_user:
        return False
    match policy.name:
        case "always" | "unless-stopped":
            return True
        case "on-failure":
            limit = policy.maximum_retry_count
            return exit_code != 0 and (limit == 0 or restart_count < limit)
        case _:
            return False


def restart_delay_s(previous_delay_s: float, *, ran_for_s: float, backoff: Backoff) -> float:
    """Seconds to wait before the next start; `previous_delay_s` is 0 before the first one."""
    if previous_delay_s == 0 or ran_for_s >= RUN_COUNTS_AS_STABLE_S:
        return backoff.first_s
    return min(previous_delay_s * backoff.factor, backoff.cap_s)


def jittered_s(delay_s: float, *, backoff: Backoff, chance: float) -> float:
    """The delay as it is waited for; `chance` is from 0 to 1. Never longer, so the cap holds."""
    return delay_s * (1 - backoff.jitter * chance)


def starts_with_daemon(
    policy: RestartPolicy, *, exit_code: int, restart_count: int, stopped_by_user: bool
) -> bool:
    """Whether a container that is found exited when the daemon starts is started.

    As `wants_restart`, but `always` forgets that somebody stopped it.
    """
    return policy.name == "always" or wants_restart(
        policy,
        exit_code=exit_code,
        restart_count=restart_count,
        stopped_by_user=stopped_by_user,
    )
