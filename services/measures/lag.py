"""How late the event loop is: a task that wants to wake four times a second, and when it does.

An instrument of trio's would see every pass of the loop, and cost each of them a microsecond, a
tenth of what a short one takes. This costs nothing that can be measured, sees every stall of
TICK_S or longer, and of shorter ones as many as an event that comes at any time would meet.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import trio

from .durations import Histogram

TICK_S: Final = 0.25
WINDOW_S: Final = 60.0
_KEPT: Final = int(WINDOW_S / TICK_S)


class LoopLag:
    """The lag of the loop that `run` runs on. `run` is a supervised child.

    Attributes:
        histogram: seconds by which it woke late, since the daemon started.
    """

    def __init__(self) -> None:
        self.histogram: Final = Histogram()
        self._recent: deque[tuple[float, float]] = deque(maxlen=_KEPT)  # when, and how late

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Measure until cancelled."""
        task_status.started()
        while True:
            due = trio.current_time() + TICK_S
            await trio.sleep_until(due)
            now = trio.current_time()
            self.histogram.observe(now - due)
            self._recent.append((now, now - due))

    @property
    def latest_s(self) -> float:
        """The last measurement; 0 if there was none."""
        return self._recent[-1][1] if self._recent else 0.0

    def longest_s(self) -> float:
        """The longest lag of the last minute."""
        since = trio.current_time() - WINDOW_S
        return max((lag for at, lag in self._recent if at >= since), default=0.0)
