"""How many restarts are too many: the rule, and the log of times it is asked about."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from supervisor.otp.errors import BadSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Intensity:
    """At most `max_restarts` within any `window_s` seconds; one more ends the supervisor.

    0 restarts means that the first crash ends it.
    """

    max_restarts: int = 1
    window_s: float = 5.0

    def __post_init__(self) -> None:
        if self.max_restarts < 0:
            raise BadSpec(f"max_restarts must not be negative: {self.max_restarts}")
        if not self.window_s > 0:
            raise BadSpec(f"window_s must be more than 0: {self.window_s}")


class RestartLog:
    """The restarts of one supervisor that are still inside its window, oldest first."""

    __slots__ = ("_intensity", "_times")

    def __init__(self, intensity: Intensity) -> None:
        self._intensity = intensity
        self._times: deque[float] = deque()

    def add(self, now: float) -> bool:
        """Note a restart at `now` (seconds, never decreasing); False if it is one too many."""
        self._forget_before(now - self._intensity.window_s)
        self._times.append(now)
        return len(self._times) <= self._intensity.max_restarts

    def left(self, now: float) -> int:
        """Restarts that may still happen at `now`."""
        self._forget_before(now - self._intensity.window_s)
        return max(0, self._intensity.max_restarts - len(self._times))

    def clear(self) -> None:
        """Forget everything: the supervisor itself starts anew."""
        self._times.clear()

    def _forget_before(self, threshold: float) -> None:
        # A restart exactly at the edge still counts, as in OTP.
        times = self._times
        while times and times[0] < threshold:
            times.popleft()
