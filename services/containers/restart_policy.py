"""When Docker starts a container again, and after how long.

Pure: the caller owns the clock and the sleep. Source: Docker documentation, "Start containers
automatically"; dockerd waits 100 ms, doubles it to at most a minute, and starts over once a run
has lasted 10 s.
"""

from __future__ import annotations

from typing import Final

from services.containers.config import RestartPolicy

FIRST_DELAY_S: Final = 0.1
LONGEST_DELAY_S: Final = 60.0
RUN_COUNTS_AS_STABLE_S: Final = 10.0


def wants_restart(
    policy: RestartPolicy, *, exit_code: int, restart_count: int, stopped_by_user: bool
) -> bool:
    """Whether an exit is followed by another start.

    `restart_count` is the number of restarts made since the container was last started by hand.
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


def restart_delay_s(previous_delay_s: float, *, ran_for_s: float) -> float:
    """Seconds to wait before the next start; `previous_delay_s` is 0 before the first one."""
    if previous_delay_s == 0 or ran_for_s >= RUN_COUNTS_AS_STABLE_S:
        return FIRST_DELAY_S
    return min(previous_delay_s * 2, LONGEST_DELAY_S)


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
