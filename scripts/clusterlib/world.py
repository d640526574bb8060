"""The whole: rules, store, agents and the time, which goes on when nobody has anything to do."""

from __future__ import annotations

import itertools
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from clusterlib.agents import Agents, Life
from clusterlib.store import Conflicting, MemoryStore
from services.cluster.allocator.allocator import Allocator
from services.cluster.model.objects import (
    Cluster,
    EngineDescription,
    Node,
    NodeDescription,
    NodeState,
    NodeStatus,
    Session,
    Stored,
    Task,
)
from services.cluster.model.snapshot import Delete, Diff, Transaction
from services.cluster.model.specs import NodeSpec
from services.cluster.model.task_spec import Platform, Resources
from services.cluster.model.task_state import TaskState
from services.cluster.orchestrator.enforcer import Enforcer
from services.cluster.orchestrator.node_watcher import NodeWatcher
from services.cluster.orchestrator.orchestrator import Orchestrator
from services.cluster.orchestrator.reaper import Reaper
from services.cluster.orchestrator.rules import Rule
from services.cluster.scheduler.scheduler import Scheduler
from services.cluster.store.codec import Codec

BEGINNING = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


class LeaderDied(Exception):
    """The fault that a test asked for."""


class World:
    """`life_of` says how tasks go; `observe` looks after each write.

    `dies_after`: the leader dies after so many transactions, once. What else it had decided is
    lost, and the next one begins with nothing but the store. `refuses`: the transaction of that
    number is not written, as if somebody else had changed what it is about.
    """

    def __init__(
        self,
        *,
        life_of: Callable[[Task], Life] = lambda _: Life(),
        observe: Callable[[World], None] | None = None,
        dies_after: int | None = None,
        refuses: int | None = None,
        codec: Codec | None = None,
    ) -> None:
        self.now = BEGINNING
        self.store = MemoryStore(codec)
        self.agents = Agents(self.store, life_of)
        self.transactions = 0
        self.cpu_s: defaultdict[str, float] = defaultdict(float)
        self.longest_s: defaultdict[str, float] = defaultdict(float)
        self.asks: Counter[str] = Counter()
        self.notes: list[str] = []
        self._ids = itertools.count(1)
        self._observe = observe
        self._dies_after = dies_after
        self._refuses = refuses
        self._tries = 0
        self._agents_seen = 0
        self.elect()
        self.store.put(Cluster(id="cluster", created_at=self.now, updated_at=self.now))

    def elect(self) -> None:
        """A leader that knows nothing."""
        self.rules: Mapping[str, Rule] = {
            "nodes": NodeWatcher(),
            "enforcer": Enforcer(),
            "orchestrator": Orchestrator(new_id=self.new_id),
            "allocator": Allocator(),
            "scheduler": Scheduler(),
            "reaper": Reaper(),
        }
        self._seen: dict[str, int] = {}
        self._again: dict[str, datetime] = {}

    def new_id(self) -> str:
        """Ids in the order in which they are made."""
        return f"{next(self._ids):025}"

    def add_nodes(self, count: int, *, prefix: str = "node", **fields: object) -> None:
        """Nodes with eight processors and 16 GB, whose agents are heard."""
        for number in range(1, count + 1):
            self.store.put(node(f"{prefix}{number}", self.now, **fields))
            self.connect(f"{prefix}{number}")

    def connect(self, node_id: str) -> None:
        """A node's agent is heard."""
        self.store.put(Session(id=node_id, created_at=self.now, updated_at=self.now))
        self.agents.reconnect(node_id, self.now)

    def cut_off(self, node_id: str) -> None:
        """A node's agent is heard no longer."""
        self.agents.cut_off.add(node_id)
        self.delete(self.store.sessions[node_id])

    def delete(self, stored: Stored) -> None:
        """Take an object away."""
        self.store.commit(Transaction((Delete(stored),)))

    def run(self, seconds: float) -> None:
        """Let so much time go by."""
        end = self.now + timedelta(seconds=seconds)
        while True:
            self._agents_notice()
            if self._ask_all():
                continue
            if self.agents.run(self.now):
                continue
            upcoming = [at for at in (*self._again.values(), self.agents.next_at()) if at]
            if not upcoming or min(upcoming) > end:
                self.now = end
                return
            self.now = max(self.now, min(upcoming))

    def settle(self, at_most_s: float = 600) -> float:
        """Let time go by until nothing happens any more. Tells how long that took, in seconds."""
        begin = self.now
        self.run(at_most_s)
        return (self.now - begin).total_seconds()

    def _agents_notice(self) -> None:
        diff, self._agents_seen = self.store.diff(self._agents_seen)
        for stored in diff.put:
            self.agents.notice(stored, self.now)
        self.store.cut_log(min([self._agents_seen, *(self._seen.get(n, 0) for n in self.rules)]))

    def _ask_all(self) -> bool:
        """Ask each rule for which something has changed. Tells whether one had to be asked."""
        was_asked = False
        for name, rule in self.rules.items():
            is_due = name in self._again and self._again[name] <= self.now
            if not is_due and self._seen.get(name) == self.store.log_end:
                continue
            was_asked = True
            try:
                self._ask(name, rule)
            except LeaderDied:
                self.elect()
                return True
        return was_asked

    def _ask(self, name: str, rule: Rule) -> None:
        if name in self._seen:
            diff, self._seen[name] = self.store.diff(self._seen[name])
        else:
            diff, self._seen[name] = Diff(is_whole=True), self.store.log_end
        begin = time.process_time()
        decision = rule.decide(self.store, diff, self.now)
        took_s = time.process_time() - begin
        self.cpu_s[name] += took_s
        self.longest_s[name] = max(self.longest_s[name], took_s)
        self.asks[name] += 1
        self._again.pop(name, None)
        if decision.again_in_s is not None:
            self._again[name] = self.now + timedelta(seconds=decision.again_in_s)
        self.notes.extend(decision.notes)
        for transaction in decision.transactions:
            self.commit(transaction)

    def commit(self, transaction: Transaction) -> None:
        """Write what a rule wants, unless something has changed meanwhile."""
        self._tries += 1
        if self._tries == self._refuses:
            return
        try:
            self.store.commit(transaction)
        except Conflicting:
            return
        self.transactions += 1
        if self._observe is not None:
            self._observe(self)
        if self.transactions == self._dies_after:
            raise LeaderDied

    # What tests look at.

    def tasks(self, service_id: str) -> list[Task]:
        """A service's, oldest first."""
        return sorted(self.store.tasks_of_service(service_id), key=lambda t: (t.created_at, t.id))

    def running(self, service_id: str) -> list[Task]:
        """Those that run and are wanted."""
        return [task for task in self.tasks(service_id) if runs(task)]


def node(id: str, now: datetime, **fields: object) -> Node:
    """A node that is up."""
    given: dict[str, object] = {
        "role": "worker",
        "spec": NodeSpec(),
        "status": NodeStatus(state=NodeState.READY, addr="192.0.2.1", since=now),
        "description": NodeDescription(
            hostname=id,
            platform=Platform(architecture="x86_64", os="linux"),
            resources=Resources(nano_cpus=8_000_000_000, memory_bytes=16 << 30),
            engine=EngineDescription(engine_version="29"),
        ),
    } | fields
    return Node(id=id, created_at=now, updated_at=now, **given)  # type: ignore[arg-type]


def runs(task: Task) -> bool:
    """Whether a task runs and is wanted."""
    return task.status.state is TaskState.RUNNING and task.desired_state <= TaskState.COMPLETE
