"""services.cluster.facts: what managers tell a node is on its disk, one writing at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import trio
from msgspec.structs import replace

from services.cluster.dispatcher.values import SessionFacts
from services.cluster.facts import FactsKeeper
from services.cluster.local_state import LocalFiles, LocalState

STATE = LocalState(
    node_id="node",
    cluster_id="cluster",
    listen_addr="0.0.0.0:2377",
    advertise_addr="192.0.2.1:2377",
)


class WatchedFiles(LocalFiles):
    """Slow, and told of whoever writes while another one does."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._one = threading.Lock()
        self.overlaps = 0

    def save(self, state: LocalState) -> None:
        """As it is, after a moment."""
        if not self._one.acquire(blocking=False):
            self.overlaps += 1
            return
        try:
            time.sleep(0.02)
            super().save(state)
        finally:
            self._one.release()


class Trusting:
    """A keeper of credentials that has nothing to do, and managers that are only noted."""

    async def trust(self, roots: object) -> None:
        """Whatever they are."""

    def update(self, managers: Sequence[str]) -> None:
        """Whoever they are."""


async def test_a_swarm_that_is_made_and_its_first_facts_are_written_in_turn(tmp_path: Path) -> None:
    """Both have the one file; the last to write has what was told in it."""
    files = WatchedFiles(tmp_path / "swarm")
    facts = FactsKeeper(
        state=STATE, files=files, keeper=cast(Any, Trusting()), remotes=cast(Any, Trusting())
    )
    for number in range(5):
        managers = (f"192.0.2.{number}:2377",)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(facts.run)
            facts.take(told(managers))
            for _ in range(3):
                nursery.start_soon(facts.write)
            with trio.fail_after(60):
                while not (found := files.load()) or found.remotes != managers:
                    await trio.sleep(0.005)
            nursery.cancel_scope.cancel()
        assert files.load() == replace(STATE, remotes=managers)
    assert files.overlaps == 0


def told(managers: tuple[str, ...]) -> SessionFacts:
    """Of a cluster with these managers."""
    return SessionFacts(session_id="", cluster_id="", node=cast(Any, None), managers=managers)
