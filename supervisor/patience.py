"""How patient the tree is with its parts: those that fail, and those that do not come up."""

from __future__ import annotations

from typing import Final

from .otp import Backoff, Intensity

OFTEN: Final = Intensity(max_restarts=20, window_s=30.0)
"""Of a supervisor whose parts may fail often before it gives up."""

PATIENT: Final = Backoff(first_s=0.1, cap_s=5.0)
"""Of a part that something outside keeps from working: it is tried again, more slowly each time."""
