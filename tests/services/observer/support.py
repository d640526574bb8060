"""A small tree that stands where the engine's parts stand, and crashes when it is told to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

from services.observer.tree import ContainerFacts
from supervisor.otp import (
    INFINITY,
    ChildSpec,
    ChildType,
    DynamicSupervisor,
    Intensity,
    Restart,
    Supervisor,
)

ID: Final = "ab" * 32
OFTEN: Final = Intensity(max_restarts=20, window_s=30.0)


class Boom(Exception):
    """What a part of this tree crashes with."""


class SmallTree:
    """root: engine (images, containers/running), listeners; one container with a pump."""

    def __init__(self) -> None:
        self._crash: dict[str, trio.Event] = {}
        self.running = DynamicSupervisor(name="running", intensity=OFTEN)
        containers = Supervisor([_supervisor(self.running)], name="containers", intensity=OFTEN)
        engine = Supervisor(
            [self._worker("images"), _supervisor(containers)], name="engine", intensity=OFTEN
        )
        self.root = Supervisor(
            [self._worker("listeners"), _supervisor(engine)], name="root", intensity=OFTEN
        )

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """The tree, with its container, inside the block."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.root.run)
            pump = self._worker("pump")
            exec_ = ChildSpec(id="exec-1", start=trio.sleep_forever, restart=Restart.TEMPORARY)
            container = Supervisor([pump, exec_], name="abab", intensity=OFTEN)
            await self.running.start_child(
                ChildSpec(
                    id=ID,
                    start=container.run,
                    restart=Restart.TRANSIENT,
                    type=ChildType.SUPERVISOR,
                    shutdown_s=INFINITY,
                )
            )
            yield
            self.root.stop()

    def crash(self, child: str) -> None:
        """Let a worker raise Boom."""
        self._crash[child].set()

    def _worker(self, child: str) -> ChildSpec:
        async def work() -> None:
            self._crash[child] = trio.Event()
            await self._crash[child].wait()
            raise Boom(f"{child} was told to\nand so it did")

        return ChildSpec(id=child, start=work)


class Names:
    """Knows the one container."""

    def facts(self, container_id: str) -> ContainerFacts | None:
        if container_id != ID:
            return None
        return ContainerFacts(id=ID, name="web", image="busybox", state="running", health="")


def _supervisor(supervisor: Supervisor | DynamicSupervisor) -> ChildSpec:
    return ChildSpec(
        id=supervisor.name,
        start=supervisor.run,
        type=ChildType.SUPERVISOR,
        shutdown_s=INFINITY,
    )
