"""The states that children and supervisors are in."""

from __future__ import annotations

import enum


class State(enum.Enum):
    """Where a child stands."""

    STARTING = "starting"  # its task runs, it is not ready
    RUNNING = "running"
    STOPPING = "stopping"  # asked to end, its task still runs
    RESTARTING = "restarting"  # ended or failed to start; waits for the next attempt
    STOPPED = "stopped"  # no task; only the spec is kept
