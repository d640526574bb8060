"""Children that were given a time to end, or to be ready, and have let it pass."""

from __future__ import annotations

from typing import Final

from supervisor.otp.child import NEVER, Child

REPORT_EVERY_S: Final = 1.0  # from a child's limit to its first report, and from each to the next
REPORTS_AT_ONCE: Final = 20  # in one round; those that are longest overdue. Stacks are not cheap


class Overdue:
    """The limits of children, and when the next report about them is due. Times are trio's."""

    __slots__ = ("_limits", "_quiet_until")

    def __init__(self) -> None:
        self._limits: dict[Child, float] = {}
        self._quiet_until = 0.0

    def watch(self, child: Child, limit_at: float) -> float:
        """Expect the end of `child` by `limit_at`; when a report would be due.

        A limit that it has already is only ever drawn nearer: asking twice gives no more time.
        """
        limit_at = min(limit_at, self._limits.get(child, NEVER))
        if limit_at < NEVER:
            self._limits[child] = limit_at
        return max(limit_at + REPORT_EVERY_S, self._quiet_until)

    def forget(self, child: Child) -> None:
        """It has ended, or become ready."""
        self._limits.pop(child, None)

    def next_at(self) -> float:
        """When to call `take`."""
        earliest = min(self._limits.values(), default=NEVER)
        return max(earliest + REPORT_EVERY_S, self._quiet_until)

    def take(self, now: float) -> list[tuple[Child, float]]:
        """The children to report at `now`, each with the seconds since its limit."""
        late = [(c, now - at) for c, at in self._limits.items() if at + REPORT_EVERY_S <= now]
        if late:
            self._quiet_until = now + REPORT_EVERY_S
        late.sort(key=lambda pair: -pair[1])
        return late[:REPORTS_AT_ONCE]
