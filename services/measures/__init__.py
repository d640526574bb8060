"""Counting and timing by plain arrays: cheap where it happens, read by whoever serves metrics.

Nothing here knows of Prometheus. An observation costs about a microsecond, no lock, and no
memory but for a new label; so the parts measure always, whether anybody reads or not.
"""

from __future__ import annotations

from .counts import Counts as Counts
from .durations import BOUNDS_S as BOUNDS_S
from .durations import Durations as Durations
from .durations import Histogram as Histogram
from .lag import LoopLag as LoopLag
