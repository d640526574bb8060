"""The order in which containers stop with the engine: those that need others before those others.

Who needs whom is what a start asks too, see `needs`. The order holds as far as the time allows:
each container is asked to end early enough to have its own grace.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

import trio

from services.containers.container import Container
from services.containers.model import State
from services.containers.needs import Needs

MARGIN_S: Final = 1.0
"""What is left of the time, after a container's grace, for its SIGKILL."""

_ALIVE: Final = (State.RUNNING, State.PAUSED)


class StopOrder:
    """Lets each container wait for its turn, once `begin` has said when all must have ended."""

    def __init__(self, containers: Iterable[Container]) -> None:
        """`containers` are all that there are, at any time: it is looked through again."""
        self._containers = containers
        self._deadline = math.inf
        self._users: dict[str, list[Container]] | None = None

    def begin(self, deadline: float) -> None:
        """The end begins; at `deadline`, in trio's time, it is over."""
        self._deadline = deadline
        self._users = None  # they may have changed since an earlier one

    def alive(self) -> list[Container]:
        """Those that have not ended; what waits for a restart has."""
        return [container for container in self._containers if container.state in _ALIVE]

    def needed_by(self, container: Container) -> list[Container]:
        """Those that are alive and need this one."""
        if self._users is None:
            self._users = {}
            needs = Needs(self._containers)
            for user in self.alive():
                for needed in needs.of(user):
                    self._users.setdefault(needed, []).append(user)
        return [user for user in self._users.get(container.id, ()) if user.state in _ALIVE]

    async def turn(self, container: Container, grace_s: float) -> None:
        """Return when nobody needs the container any more, or when it must be asked to end."""
        with trio.move_on_at(self._deadline - grace_s - MARGIN_S):
            for user in self.needed_by(container):
                waiter = user.waiter("not-running")
                try:
                    await waiter.wait()
                finally:
                    user.forget_waiter(waiter)
