"""All execs by id: those of a container that have not ended, and the last ones that have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from services.containers.container import Container
from services.containers.execs.exec import Exec
from services.errors import NotFound

KEPT_AFTER_END: Final = 1000
"""Ended execs that can still be inspected, over all containers; the oldest is forgotten first."""

KEPT_UNSTARTED: Final = 1000
"""Execs of one container that nobody has started; the oldest is forgotten first."""


class ExecTable:
    """Every call takes the same time however many there are, but for `forget`."""

    def __init__(self) -> None:
        self._execs: dict[str, Exec] = {}
        self._unended: dict[str, dict[str, Exec]] = {}  # by the container's id, then their own
        self._ended: dict[str, None] = {}  # in the order of their ends

    def __len__(self) -> int:
        return len(self._execs)

    def find(self, exec_id: str) -> Exec:
        """The exec with this id. Raises NotFound: there is none, or its container is gone."""
        try:
            return self._execs[exec_id]
        except KeyError:
            raise NotFound(f"No such exec instance: {exec_id}") from None

    def unended(self, container: Container) -> Iterator[Exec]:
        """The execs of one container that have not ended, also those that have not begun."""
        return iter(tuple(self._unended.get(container.id, {}).values()))

    def left(self) -> list[Exec]:
        """Those that run on while nobody follows them."""
        of_containers = self._unended.values()
        return [one for those in of_containers for one in those.values() if one.is_left]

    def add(self, exec_: Exec) -> None:
        """Make a prepared exec known."""
        self._execs[exec_.id] = exec_
        of_container = self._unended.setdefault(exec_.container.id, {})
        of_container[exec_.id] = exec_
        if len(of_container) > KEPT_UNSTARTED:
            unstarted = [one for one in of_container.values() if not one.was_started]
            if len(unstarted) > KEPT_UNSTARTED:
                self.forget_one(unstarted[0])

    def end(self, exec_: Exec) -> None:
        """Wake who waits for its end; it stays known for a while."""
        exec_.ended.set()
        self._leave_unended(exec_)
        if exec_.id not in self._execs:
            return
        self._ended[exec_.id] = None
        if len(self._ended) > KEPT_AFTER_END:
            self.forget_one(self._execs[next(iter(self._ended))])

    def forget(self, container: Container) -> None:
        """The container is gone."""
        for exec_ in [e for e in self._execs.values() if e.container is container]:
            self.forget_one(exec_)

    def forget_one(self, exec_: Exec) -> None:
        """Nobody will ask for this one any more."""
        self._execs.pop(exec_.id, None)
        self._ended.pop(exec_.id, None)
        self._leave_unended(exec_)

    def _leave_unended(self, exec_: Exec) -> None:
        of_container = self._unended.get(exec_.container.id, {})
        of_container.pop(exec_.id, None)
        if not of_container:
            self._unended.pop(exec_.container.id, None)
