"""Everything at once, at random times: what must hold whatever happens."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from supervisor.otp import (
    Backoff,
    ChildSpec,
    ChildType,
    DynamicSupervisor,
    Intensity,
    Restart,
    Shutdown,
    StartFailed,
    State,
    Strategy,
    Supervisor,
    SupervisorError,
    stop_request,
)
from tests.supervisor.otp.stage import Boom

SEEDS = 150
CALLERS = 6


class Chaos:
    """One tree, and those who will not leave it in peace."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.alive: dict[str, int] = {}  # incarnations of each child that are there
        self.number = 0
        self.is_calm = True  # until the tree has started: it would seldom come to life otherwise
        self.dynamic = DynamicSupervisor(name="dynamic", intensity=self.intensity())
        self.inner = Supervisor(
            [self.spec() for _ in range(3)],
            name="inner",
            strategy=self.rng.choice(list(Strategy)),
            intensity=self.intensity(),
        )
        nested = [
            ChildSpec(id=one.name, start=one.run, type=ChildType.SUPERVISOR)
            for one in (self.inner, self.dynamic)
        ]
        self.root = Supervisor(
            [self.spec(), *nested, self.spec()],
            name="root",
            strategy=self.rng.choice(list(Strategy)),
            intensity=self.intensity(),
        )

    def intensity(self) -> Intensity:
        """Sometimes enough."""
        return Intensity(max_restarts=self.rng.choice([3, 20, 200]), window_s=5.0)

    def spec(self) -> ChildSpec:
        """A child with a mind of its own."""
        self.number += 1
        name = f"c{self.number}"
        return ChildSpec(
            id=name,
            start=self.child(name),
            restart=self.rng.choice(list(Restart)),
            shutdown_s=self.rng.choice([0.0, 0.5, 3.0]),
            backoff=self.rng.choice([None, None, Backoff(first_s=0.2, cap_s=2.0)]),
            start_limit_s=self.rng.choice([None, 0.6]),
        )

    def child(self, name: str) -> Callable[..., Awaitable[None]]:
        """Starts slowly, lives for a while, drains or cleans up slowly, fails in any of these."""
        rng = self.rng

        async def start(task_status: trio.TaskStatus[str]) -> None:
            self.alive[name] = self.alive.get(name, 0) + 1
            assert self.alive[name] == 1, f"two incarnations of {name}"
            try:
                request = stop_request() if rng.random() < 0.5 else None
                await trio.sleep(rng.choice([0, 0, 0.3, 0.3 if self.is_calm else 1.0]))
                if not self.is_calm and rng.random() < 0.2:
                    raise Boom(name)
                if not self.is_calm and rng.random() < 0.1:
                    return
                task_status.started(name)
                with trio.move_on_after(rng.choice([0.5, 2.0, 20.0])):
                    await (request.wait() if request else trio.Event().wait())
                await trio.sleep(rng.choice([0, 0.2, 1.0]))
                if rng.random() < 0.5:
                    raise Boom(name)
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(rng.choice([0, 0, 0.1, 0.7]))
                self.alive[name] -= 1

        return start

    def started(self, value: object = None) -> None:
        """The tree has started."""
        self.is_calm = False

    async def pester(self) -> None:
        """Call anything, with little patience."""
        rng = self.rng
        for _ in range(20):
            await trio.sleep(rng.choice([0, 0.1, 0.5, 1.0]))
            everybody: list[Supervisor | DynamicSupervisor] = [self.root, self.inner, self.dynamic]
            one = rng.choice(everybody)
            ids = [child.id for child in one.which_children()] or ["c1"]
            with contextlib.suppress(SupervisorError, Boom), trio.move_on_after(rng.random()):
                await self.call(one, rng.choice(ids))

    async def call(self, one: Supervisor | DynamicSupervisor, child_id: str) -> None:
        """One call."""
        kind = self.rng.randrange(4)
        if kind == 0:
            await one.start_child(self.spec())
        elif kind == 1 or isinstance(one, DynamicSupervisor):
            await one.terminate_child(child_id)
        elif kind == 2:
            await one.restart_child(child_id)
        else:
            await one.delete_child(child_id)

    async def run(self) -> None:
        """Until it ends by itself, is stopped, or is cancelled."""
        with trio.fail_after(1000):
            async with trio.open_nursery() as nursery:
                scope = trio.CancelScope()
                for _ in range(CALLERS):
                    nursery.start_soon(self.pester)
                nursery.start_soon(self.end, scope)
                with scope, contextlib.suppress(Shutdown, StartFailed):
                    await self.root.run(task_status=self)
                assert not any(self.alive.values())
        for one in (self.root, self.inner, self.dynamic):
            states = {node.state for node in one.tree().walk()}
            assert states <= {State.STOPPED}, states

    async def end(self, scope: trio.CancelScope) -> None:
        """Stop it, or cancel it, or both."""
        await trio.sleep(self.rng.random() * 20)
        if self.rng.random() < 0.6:
            self.root.stop()
            await trio.sleep(self.rng.random())
        if self.rng.random() < 0.6:
            scope.cancel()
        self.root.stop()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_nothing_outlives_the_tree_and_every_call_is_answered(seed: int) -> None:
    """No child has two incarnations, none outlives run(), no caller waits for ever."""
    trio.run(Chaos(seed).run, clock=MockClock(autojump_threshold=0))
