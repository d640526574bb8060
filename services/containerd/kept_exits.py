"""Exits that containerd does not know, because its shims were asked before it forgot them."""

from __future__ import annotations

from collections.abc import Mapping

from .shim_waits import TaskKey
from .values import TaskExit


class KeptExits:
    """Of tasks that ended while no containerd ran: at most as many as there were shims then.

    Each is kept until its task is deleted, or a new one takes its place.
    """

    def __init__(self) -> None:
        self._exits: dict[TaskKey, TaskExit] = {}

    def add(self, exits: Mapping[TaskKey, TaskExit]) -> None:
        """What shims said before a containerd that has just started took them up."""
        self._exits |= exits

    def get(self, namespace: str, id: str) -> TaskExit | None:
        """How this task ended, if only we know."""
        return self._exits.get((namespace, id))

    def forget(self, namespace: str, id: str) -> TaskExit | None:
        """As `get`, for the last time."""
        return self._exits.pop((namespace, id), None)
