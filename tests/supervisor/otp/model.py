"""OTP's rules written down as plainly as possible, to compare supervisors with. No tasks, no time.

A `ModelSupervisor` logs the same marks as the children of stage.py: "+a", "-a", "xa", "!a", "?a".
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from supervisor.otp import Restart, Strategy


@dataclass(frozen=True)
class WorkerDef:
    """A child that does as it is told."""

    id: str
    restart: Restart


@dataclass(frozen=True)
class SupervisorDef:
    """A supervisor, and, unless it is the root, a child."""

    id: str
    restart: Restart
    strategy: Strategy | None  # None: dynamic
    max_restarts: int
    children: tuple[SupervisorDef | WorkerDef, ...] = ()


@dataclass
class World:
    """What all of a tree share."""

    log: list[str] = field(default_factory=list)
    plans: defaultdict[str, deque[str]] = field(default_factory=lambda: defaultdict(deque))

    def next_start(self, child_id: str) -> str:
        """How the next start goes."""
        plan = self.plans[child_id]
        return plan.popleft() if plan else "ok"


class GiveUp(Exception):
    """Too many restarts."""


@dataclass
class ModelChild:
    """A child: "running", or "stopped" when only its spec is left."""

    spec: SupervisorDef | WorkerDef
    state: str = "stopped"
    nested: ModelSupervisor | None = None


class ModelSupervisor:
    """A supervisor that has been started, or tries to be."""

    def __init__(self, spec: SupervisorDef, world: World, above: ModelSupervisor | None) -> None:
        self.spec, self.world, self.above = spec, world, above
        self.children = [ModelChild(child) for child in spec.children]
        self.restarts = 0

    # --- the life of a child

    def start(self, child: ModelChild) -> bool:
        """Whether it started, or ignored."""
        spec = child.spec
        if isinstance(spec, SupervisorDef):
            nested = ModelSupervisor(spec, self.world, self)
            if not nested.start_all():
                return False
            child.nested, child.state = nested, "running"
            return True
        word = self.world.next_start(spec.id)
        self.world.log.append({"ok": "+", "fail": "!", "ignore": "?"}[word] + spec.id)
        if word == "ignore":
            self.set_stopped(child)
        elif word == "ok":
            child.state = "running"
        return word != "fail"

    def stop(self, child: ModelChild) -> None:
        """End it."""
        if child.state == "running":
            if child.nested is not None:
                child.nested.stop_all()
            else:
                self.world.log.append("-" + child.spec.id)
        self.set_stopped(child)

    def set_stopped(self, child: ModelChild) -> None:
        """It does not run; a temporary child, or any under a dynamic supervisor, is forgotten."""
        child.state, child.nested = "stopped", None
        forgets = self.spec.strategy is None or child.spec.restart is Restart.TEMPORARY
        if forgets and child in self.children:
            self.children.remove(child)

    def start_all(self) -> bool:
        """In order; the first failure undoes what started, in reverse."""
        for child in list(self.children):
            if not self.start(child):
                self.stop_all()
                return False
        return True

    def stop_all(self) -> None:
        """In reverse."""
        for child in reversed(list(self.children)):
            self.stop(child)

    # --- ends

    def on_exit(self, child: ModelChild, how: str) -> bool:
        """A child ended by itself; False if that was the end of the whole tree."""
        if child.nested is None:
            self.world.log.append("x" + child.spec.id)
        child.state, child.nested = "stopped", None
        comes_back = {
            Restart.PERMANENT: True,
            Restart.TRANSIENT: how == "crash",
            Restart.TEMPORARY: False,
        }
        if not comes_back[child.spec.restart]:
            self.set_stopped(child)
            return True
        try:
            self.restart(child)
        except GiveUp:
            self.stop_all()
            if self.above is None:
                return False
            me = next(c for c in self.above.children if c.nested is self)
            return self.above.on_exit(me, "shutdown")
        return True

    def restart(self, child: ModelChild) -> None:
        """Until it works."""
        failed: ModelChild | None = child
        while failed is not None:
            self.restarts += 1
            if self.restarts > self.spec.max_restarts:
                raise GiveUp
            for one in reversed(self.group(failed)):
                if one is not failed:
                    self.stop(one)
            failed = next((one for one in self.group(failed) if not self.start(one)), None)

    def group(self, child: ModelChild) -> list[ModelChild]:
        """Those that go with it."""
        if self.spec.strategy is Strategy.ONE_FOR_ALL:
            return list(self.children)
        if self.spec.strategy is Strategy.REST_FOR_ONE:
            return self.children[self.children.index(child) :]
        return [child]

    # --- calls; each returns the name of the refusal, or ""

    def find(self, child_id: str) -> ModelChild | None:
        """The child of that id."""
        return next((child for child in self.children if child.spec.id == child_id), None)

    def start_child(self, spec: WorkerDef) -> str:
        """Add one at the end."""
        present = self.find(spec.id)
        if present is not None:
            return "AlreadyStarted" if present.state == "running" else "AlreadyPresent"
        child = ModelChild(spec)
        self.children.append(child)
        if self.start(child):
            return ""
        self.children.remove(child)
        return "Boom"

    def terminate_child(self, child_id: str) -> str:
        """Stop one."""
        child = self.find(child_id)
        if child is None:
            return "NotFound"
        self.stop(child)
        return ""

    def restart_child(self, child_id: str) -> str:
        """Start a stopped one."""
        child = self.find(child_id)
        if child is None or child.state == "running":
            return "NotFound" if child is None else "Running"
        if self.start(child):
            return ""
        return "StartFailed" if isinstance(child.spec, SupervisorDef) else "Boom"

    def delete_child(self, child_id: str) -> str:
        """Forget a stopped one."""
        child = self.find(child_id)
        if child is None or child.state == "running":
            return "NotFound" if child is None else "Running"
        self.children.remove(child)
        return ""

    # --- looking around

    def walk(self) -> Iterator[ModelSupervisor]:
        """It and all below it that run."""
        yield self
        for child in self.children:
            if child.nested is not None:
                yield from child.nested.walk()

    def picture(self) -> dict[str, list[tuple[str, str]]]:
        """The children of every supervisor that runs, with their states."""
        return {
            one.spec.id: [(child.spec.id, child.state) for child in one.children]
            for one in self.walk()
        }
