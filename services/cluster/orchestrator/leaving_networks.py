"""Networks that were removed under tasks which are to end, and when they are empty.

A part of the reaper's memory. A task counts until it has ended, wherever it is: of a node that is
away nobody knows what it has, and its tasks are given up after a day.
"""

from __future__ import annotations

from collections.abc import Iterator

from services.cluster.model.networks_of_tasks import holds_network
from services.cluster.model.objects import LeavingNetwork, Task
from services.cluster.model.snapshot import Snapshot


class LeavingNetworks:
    """Who is in each of them. Costs nothing while there are none."""

    def __init__(self) -> None:
        self._tasks_in: dict[str, set[str]] = {}

    def begin_anew(self, snapshot: Snapshot) -> None:
        """Look at everything."""
        self._tasks_in.clear()
        for leaving in snapshot.leaving_networks.values():
            self.note(leaving, snapshot)

    def note(self, leaving: LeavingNetwork, snapshot: Snapshot) -> None:
        """A network was removed."""
        self._tasks_in[leaving.id] = {
            task.id for task in snapshot.tasks.values() if holds_network(task, leaving.id)
        }

    def note_task(self, task: Task) -> None:
        """A task came to be, or changed."""
        for place in task.networks:
            if (inside := self._tasks_in.get(place.network_id)) is not None:
                change = inside.add if holds_network(task, place.network_id) else inside.discard
                change(task.id)

    def forget_task(self, task: Task) -> None:
        """A task is gone."""
        for place in task.networks:
            self._tasks_in.get(place.network_id, set()).discard(task.id)

    def forget(self, network_id: str) -> None:
        """A network is gone for good."""
        self._tasks_in.pop(network_id, None)

    def empty(self, snapshot: Snapshot) -> Iterator[LeavingNetwork]:
        """Those that nobody is in any more."""
        for network_id, inside in self._tasks_in.items():
            leaving = snapshot.leaving_networks.get(network_id)
            if leaving is not None and not inside:
                yield leaving
