"""The life that a node lives now, and the phase that it is in. One life is lived at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio
from loguru import logger

from services.cluster.control.control import Control
from services.cluster.errors import IS_A_WORKER, LOCKED, MANAGER_NOT_READY, NO_MANAGER, NotManager
from services.cluster.info import SwarmInfo
from services.cluster.life import Life, ManagerLife, WorkerLife
from services.cluster.local_state import LocalState
from services.cluster.node_info import info_of
from services.cluster.phase import Phase, Step, after
from services.errors import single_error

ARRIVE_LIMIT_S: Final = 20.0  # dockerd's: how long a client waits for init and join
STOP_LIMIT_S: Final = 30.0

log = logger.bind(service="cluster")


class Lived:
    """Who changes it ends the present life and says what follows.

    Attributes:
        life: the present one; None while the node lives none.
        state: what the disk says of a node that lives no life yet.
    """

    def __init__(self, *, make_control: Callable[[ManagerLife], Control]) -> None:
        self.life: Life | None = None
        self.state: LocalState | None = None
        self._make_control = make_control
        self._phase = Phase.INACTIVE
        self._error = ""
        self._control: Control | None = None
        self._then: Callable[[], Awaitable[None]] | None = None  # after the life that ends
        self._scope = trio.CancelScope()  # of the life that is lived
        self._moved = trio.Event()  # whenever phase or life change
        self._idle = trio.Event()  # while no life is lived
        self._idle.set()

    @property
    def phase(self) -> Phase:
        """Where the node is, in or out of a cluster."""
        return self._phase

    @property
    def role_word(self) -> str:
        """As `ClusterFace`'s."""
        if self._phase is not Phase.ACTIVE:
            return str(self._phase)
        return "active/manager" if isinstance(self.life, ManagerLife) else "active/worker"

    @property
    def has_control(self) -> bool:
        """Whether the node is a manager that can be asked."""
        return self._control is not None

    def control(self) -> Control:
        """As `ClusterFace`'s."""
        if self._phase is Phase.INACTIVE:
            raise NotManager(NO_MANAGER)
        if self._phase is Phase.LOCKED:
            raise NotManager(LOCKED)
        if isinstance(self.life, WorkerLife):
            raise NotManager(IS_A_WORKER)
        if self._phase is not Phase.ACTIVE or self._control is None:
            raise NotManager(MANAGER_NOT_READY)
        return self._control

    def info(self) -> SwarmInfo | None:
        """As `ClusterFace`'s."""
        if self._phase is Phase.INACTIVE:
            return None
        state = self.life.state if self.life is not None else self.state
        return info_of(self._phase, self._error, state, self.life, self.has_control)

    # -- changes

    def step(self, step: Step, error: str = "") -> None:
        """Go on to the phase that follows; `error` is what clients are told of it.

        Raises:
            Conflict: this cannot happen in the present phase.
        """
        self._phase = after(self._phase, step)
        self._error = error
        moved, self._moved = self._moved, trio.Event()
        moved.set()

    def begin(self, life: Life, step: Step = Step.BEGIN) -> None:
        """Have a life to live, while none is lived. Raises as `step`."""
        self.state = None
        self._control = None
        self.life = life
        self.step(step)

    def end_for(self, then: Callable[[], Awaitable[None]]) -> None:
        """End the present life; once it has ended, `then` is to begin what follows."""
        self._then = then
        self._scope.cancel()

    async def stop(self) -> None:
        """End the present life, if there is one; block until none is lived any more."""
        life, self.life, self._then, self._control = self.life, None, None, None
        self._scope.cancel()
        with trio.move_on_after(STOP_LIMIT_S):
            await self._idle.wait()
        if life is not None:
            life.close()

    def forget(self) -> None:
        """Nothing is lived any more, and nothing follows."""
        if self.life is not None:
            self.life.close()
        self.life, self._then, self._control = None, None, None
        self._idle.set()

    # -- waits

    async def wait_moved(self) -> None:
        """Block until phase or life change."""
        await self._moved.wait()

    async def wait_begun(self) -> None:
        """Block until there is something to do, while no life is lived."""
        self._idle.set()
        await self._moved.wait()

    async def has_arrived(self) -> bool:
        """Whether the node has come to be part of its cluster within a client's patience."""
        with trio.move_on_after(ARRIVE_LIMIT_S):
            while self._phase is not Phase.ACTIVE:
                await self._moved.wait()
        return self._phase is Phase.ACTIVE

    async def live(self, life: Life, beside: Callable[[Life], Awaitable[None]]) -> None:
        """Live a life until it is ended, with `beside` next to it; then do what follows."""
        self._idle = trio.Event()
        with single_error(), trio.CancelScope() as self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(life.run)
                nursery.start_soon(self._arrive, life)
                nursery.start_soon(beside, life)
        then, self._then = self._then, None
        if then is not None:
            life.close()
            await then()

    async def _arrive(self, life: Life) -> None:
        await life.wait_ready()
        if isinstance(life, ManagerLife):
            self._control = self._make_control(life)
        self.step(Step.ARRIVE)
        log.bind(node=life.state.node_id, role=self.role_word).info("the node is in its swarm")
