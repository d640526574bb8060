"""Random trees under random ends and calls, against the plain model of OTP's rules in model.py."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import trio
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from trio.testing import MockClock, wait_all_tasks_blocked

from supervisor.otp import (
    ChildSpec,
    ChildType,
    DynamicSupervisor,
    Intensity,
    Restart,
    Shutdown,
    StartFailed,
    Strategy,
    Supervisor,
    SupervisorError,
)
from tests.supervisor.otp.model import (
    ModelChild,
    ModelSupervisor,
    SupervisorDef,
    WorkerDef,
    World,
)
from tests.supervisor.otp.stage import Boom, Stage

NOBODY = "w-nobody"
Picture = dict[str, list[tuple[str, str]]]


@dataclass(frozen=True)
class Step:
    """Something done to the tree, and what the model says comes of it."""

    what: tuple[str, ...]
    log: list[str]
    picture: Picture | None  # None: the tree has ended
    refusal: str = ""
    worker: WorkerDef | None = None


def name_all(draw: st.DrawFn, depth: int, numbers: Iterable[int]) -> SupervisorDef:
    """A supervisor with a random tree below it; every id in the tree is its own."""
    number = iter(numbers)

    def build(level: int) -> SupervisorDef:
        strategy = (
            draw(st.sampled_from([*Strategy, *Strategy, None]))
            if level
            else draw(st.sampled_from(list(Strategy)))
        )
        children: list[SupervisorDef | WorkerDef] = []
        for _ in range(0 if strategy is None else draw(st.integers(1, 3))):
            if level < depth and draw(st.booleans()):
                children.append(build(level + 1))
            else:
                restart = draw(st.sampled_from(list(Restart)))
                children.append(WorkerDef(f"w{next(number)}", restart))
        return SupervisorDef(
            id=f"s{next(number)}",
            restart=draw(st.sampled_from(list(Restart))),
            strategy=strategy,
            max_restarts=draw(st.integers(0, 3)),
            children=tuple(children),
        )

    return build(0)


@st.composite
def trees(draw: st.DrawFn) -> SupervisorDef:
    """A tree of up to three levels of supervisors."""
    return name_all(draw, 2, itertools.count())


WORDS = st.lists(st.sampled_from(["ok", "fail", "fail", "ignore"]), min_size=1, max_size=3)


class Trees(RuleBasedStateMachine):
    """The rules act on the model and note what should happen; the end plays it on the real tree."""

    @initialize(tree=trees())
    def plant(self, tree: SupervisorDef) -> None:
        """A tree that starts."""
        self.tree, self.world = tree, World()
        self.root: ModelSupervisor | None = ModelSupervisor(tree, self.world, None)
        assert self.root.start_all()
        self.steps: list[Step] = []
        self.note(("start",))

    @precondition(lambda self: self.root is None)
    @rule()
    def again(self) -> None:
        """A tree that has ended is run again."""
        self.root = ModelSupervisor(self.tree, self.world, None)
        if not self.root.start_all():
            self.root = None
        self.note(("start",))

    def note(
        self, what: tuple[str, ...], refusal: str = "", worker: WorkerDef | None = None
    ) -> None:
        """Something was done."""
        log, self.world.log = self.world.log, []
        picture = None if self.root is None else self.root.picture()
        self.steps.append(Step(what, log, picture, refusal, worker))

    def workers(self) -> list[tuple[ModelSupervisor, ModelChild]]:
        """Those that run."""
        assert self.root is not None
        return [
            (one, child)
            for one in self.root.walk()
            for child in one.children
            if child.state == "running" and child.nested is None
        ]

    @precondition(lambda self: self.root is not None and self.workers())
    @rule(data=st.data(), how=st.sampled_from(["crash", "crash", "normal", "shutdown"]))
    def end(self, data: st.DataObject, how: str) -> None:
        """A worker ends by itself."""
        owner, child = data.draw(st.sampled_from(self.workers()))
        if not owner.on_exit(child, how):
            self.root = None
        self.note(("end", child.spec.id, how))

    @precondition(lambda self: self.root is not None)
    @rule(data=st.data(), words=WORDS)
    def plan(self, data: st.DataObject, words: list[str]) -> None:
        """The next starts of a worker will go like this."""
        assert self.root is not None
        ids = [c.spec.id for one in self.root.walk() for c in one.children] + [NOBODY]
        child_id = data.draw(st.sampled_from(ids))
        self.world.plans[child_id].extend(words)
        self.note(("plan", child_id, *words))

    @precondition(lambda self: self.root is not None)
    @rule(data=st.data(), kind=st.sampled_from(["terminate", "restart", "delete"]))
    def call(self, data: st.DataObject, kind: str) -> None:
        """A management call on any supervisor about any of its children, or one that it has not."""
        assert self.root is not None
        one = data.draw(st.sampled_from(list(self.root.walk())))
        if one.spec.strategy is None:
            kind = "terminate"
        ids = [child.spec.id for child in one.children] + [NOBODY]
        child_id = data.draw(st.sampled_from(ids))
        calls: dict[str, Callable[[str], str]] = {
            "terminate": one.terminate_child,
            "restart": one.restart_child,
            "delete": one.delete_child,
        }
        refusal = calls[kind](child_id)
        self.note((kind, one.spec.id, child_id), refusal)

    @precondition(lambda self: self.root is not None)
    @rule(data=st.data(), restart=st.sampled_from(list(Restart)))
    def add(self, data: st.DataObject, restart: Restart) -> None:
        """A worker is added to any supervisor."""
        assert self.root is not None
        one = data.draw(st.sampled_from(list(self.root.walk())))
        # Under one supervisor only: the stage knows children by id.
        worker = WorkerDef(f"w-{one.spec.id}{data.draw(st.sampled_from('xy'))}", restart)
        refusal = one.start_child(worker)
        self.note(("add", one.spec.id, worker.id), refusal, worker)

    def teardown(self) -> None:
        """Play it all on the real tree."""
        if hasattr(self, "tree"):
            trio.run(Real(self.tree).play, self.steps, clock=MockClock(autojump_threshold=0))


class Real:
    """The real tree."""

    def __init__(self, tree: SupervisorDef) -> None:
        self.stage = Stage()
        self.supervisors: dict[str, Supervisor | DynamicSupervisor] = {}
        self.dynamic_of: dict[str, str] = {}  # worker under a dynamic supervisor -> that
        self.root = self.build(tree)
        self.is_down = False

    def build(self, spec: SupervisorDef) -> Supervisor | DynamicSupervisor:
        """A supervisor and those below it."""
        intensity = Intensity(max_restarts=spec.max_restarts, window_s=1e9)
        made: Supervisor | DynamicSupervisor
        if spec.strategy is None:
            made = DynamicSupervisor(name=spec.id, intensity=intensity)
        else:
            children = [self.child(child) for child in spec.children]
            made = Supervisor(children, name=spec.id, strategy=spec.strategy, intensity=intensity)
        self.supervisors[spec.id] = made
        return made

    def child(self, spec: SupervisorDef | WorkerDef) -> ChildSpec:
        """A child of one of them."""
        if isinstance(spec, WorkerDef):
            return self.stage.spec(spec.id, restart=spec.restart)
        run = self.build(spec).run
        return ChildSpec(id=spec.id, start=run, restart=spec.restart, type=ChildType.SUPERVISOR)

    async def play(self, steps: list[Step]) -> None:
        """Every step comes out as the model says."""
        async with trio.open_nursery() as nursery:
            for step in steps:
                refusal = await self.do(step, nursery)
                await wait_all_tasks_blocked()
                assert refusal == step.refusal, step
                assert self.tidy(self.stage.take_log()) == self.tidy(step.log), step
                assert self.picture() == step.picture, step
            nursery.cancel_scope.cancel()

    async def run(self) -> None:
        """The root."""
        self.is_down = False
        with contextlib.suppress(Shutdown, StartFailed):
            await self.root.run()
        self.is_down = True

    async def do(self, step: Step, nursery: trio.Nursery) -> str:
        """One step; the name of the refusal."""
        kind, *rest = step.what
        if kind == "start":
            nursery.start_soon(self.run)
        elif kind == "end":
            self.stage.order(rest[0], rest[1])
        elif kind == "plan":
            self.stage.plans[rest[0]].extend(rest[1:])
        else:
            try:
                await self.call(kind, self.supervisors[rest[0]], rest[1], step.worker)
            except (SupervisorError, StartFailed, Boom) as error:
                return type(error).__name__
        return ""

    async def call(
        self,
        kind: str,
        one: Supervisor | DynamicSupervisor,
        child_id: str,
        worker: WorkerDef | None,
    ) -> None:
        """A management call."""
        if worker is not None:
            if isinstance(one, DynamicSupervisor):
                self.dynamic_of[worker.id] = one.name
            await one.start_child(self.child(worker))
        elif kind == "terminate":
            await one.terminate_child(child_id)
        else:
            assert isinstance(one, Supervisor)
            await (one.restart_child if kind == "restart" else one.delete_child)(child_id)

    def tidy(self, log: list[str]) -> list[str]:
        """Children of one dynamic supervisor stop in no order: sort them."""
        runs = itertools.groupby(
            log, lambda mark: self.dynamic_of.get(mark[1:]) if mark[0] == "-" else None
        )
        return [
            mark
            for dynamic, marks in runs
            for mark in (sorted(marks) if dynamic is not None else list(marks))
        ]

    def picture(self) -> Picture | None:
        """The children of every supervisor that runs, with their states."""
        if self.is_down:
            return None
        return {
            node.supervisor.name: [(c.path.rsplit("/", 1)[1], c.state.value) for c in node.children]
            for node in self.root.tree().walk()
            if node.supervisor is not None
        }


TestTrees = Trees.TestCase
TestTrees.settings = settings(
    max_examples=250,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
