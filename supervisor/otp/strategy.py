"""OTP's rules as functions of values: what an end means, who restarts with whom."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from typing import assert_never

from supervisor.otp.spec import AutoShutdown, Restart, Strategy


class ExitKind(enum.Enum):
    """How a child ended."""

    NORMAL = "normal"  # it returned
    SHUTDOWN = "shutdown"  # it was asked to, or raised Shutdown
    CRASH = "crash"  # anything else, also an error before it was ready
    IGNORE = "ignore"  # it returned before it was ready


def is_restarted(restart: Restart, kind: ExitKind) -> bool:
    """Whether a child that ended by itself is to be started again."""
    match restart:
        case Restart.PERMANENT:
            return kind is not ExitKind.IGNORE
        case Restart.TRANSIENT:
            return kind is ExitKind.CRASH
        case Restart.TEMPORARY:
            return False
    assert_never(restart)


def restarted_with(strategy: Strategy, ids: Sequence[str], failed: str) -> Sequence[str]:
    """The ids, in start order, that stop (in reverse) and start when `failed` is restarted."""
    match strategy:
        case Strategy.ONE_FOR_ONE:
            return (failed,)
        case Strategy.ONE_FOR_ALL:
            return ids
        case Strategy.REST_FOR_ONE:
            return ids[ids.index(failed) :]
    assert_never(strategy)


def is_shutdown_due(
    auto_shutdown: AutoShutdown, *, significant: bool, others: Iterable[bool]
) -> bool:
    """Whether a supervisor ends because a child has ended by itself and is not restarted.

    `significant` is that child's; `others` are those of all that run or wait for a restart.
    """
    match auto_shutdown:
        case AutoShutdown.NEVER:
            return False
        case AutoShutdown.ANY_SIGNIFICANT:
            return significant
        case AutoShutdown.ALL_SIGNIFICANT:
            return significant and not any(others)
    assert_never(auto_shutdown)
