"""A daemon with an agent and scripted managers, as tests use it."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec

from services.cluster.dispatcher.values import Assignments
from services.cluster.model.objects import Task, TaskStatus
from services.cluster.model.task_state import TaskState
from services.networks.model import GATEWAY_BRIDGE
from tests.support.crashable import CrashableDaemon, _running

LIMIT_S = 60.0


@dataclass(slots=True)
class AgentDaemon(CrashableDaemon):
    """A `CrashableDaemon` that has an agent, see `tests.support.agenting`.

    Attributes:
        starts_cut: whether the next start finds no manager.
    """

    module: ClassVar[str] = "tests.support.agenting"
    starts_cut: bool = False

    def process_environment(self) -> dict[str, str]:
        """With what the managers are to be like."""
        return dict(os.environ) | ({"MANAGERS_CUT": "1"} if self.starts_cut else {})

    def assign(self, *tasks: Task, is_complete: bool = True, **more: Any) -> None:
        """What the managers say now."""
        told = Assignments(is_complete=is_complete, tasks=tasks, **more)
        self.ask(do="assign", told=base64.b64encode(msgspec.json.encode(told)).decode())

    def status(self, task_id: str) -> TaskStatus | None:
        """What the agent last told of a task."""
        found = self.ask(do="reports")["last"].get(task_id)
        return None if found is None else msgspec.convert(found, TaskStatus)

    def history(self, task_id: str) -> list[str]:
        """The states that were told of a task, each once, in their order."""
        told = [state for one, state in self.ask(do="reports")["history"] if one == task_id]
        return list(dict.fromkeys(told))

    def wait_state(self, task_id: str, state: TaskState) -> TaskStatus:
        """Wait until the agent tells a state of a task; fails at one beyond it."""
        found: list[TaskStatus] = []

        def is_there() -> bool:
            status = self.status(task_id)
            if status is None or status.state < state:
                return False
            found.append(status)
            return True

        wait_until(is_there, f"{task_id} to be {state.wire}")
        assert found[-1].state is state, found[-1]
        return found[-1]

    def wait_up(self, *names: str) -> None:
        """Wait until containers have said `up`. One that is told to end before its init has made
        ready for that is killed in the end.
        """
        for name in names:
            wait_until(lambda name=name: "up" in self.docker_out("logs", name), f"{name} to be up")  # type: ignore[misc]

    def inspect(self, name: str) -> dict[str, Any]:
        """A container, as `docker inspect` shows it."""
        found: list[dict[str, Any]] = json.loads(self.docker_out("inspect", name))
        return found[0]

    def docker_out(self, *arguments: str) -> str:
        """What a docker command prints; it must succeed."""
        return self.docker(*arguments).out.decode()

    def containers(self) -> list[str]:
        """The names of all containers."""
        return self.docker_out("ps", "-a", "--format", "{{.Names}}").split()


def wait_until(condition: Callable[[], bool], what: str, limit_s: float = LIMIT_S) -> None:
    """Ask again and again; fails when the limit is over."""
    until = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < until, f"waited in vain for {what}"
        time.sleep(0.05)


@contextmanager
def agent_daemon(*flags: str) -> Iterator[AgentDaemon]:
    """As `crashable_daemon`; its tasks are ended with it."""
    with _running(AgentDaemon, flags) as daemon:
        yield daemon
        if daemon.is_running:
            daemon.ask(do="mend")
            daemon.ask(do="leave")
            held = daemon.exec_root / "overlays"
            wait_until(lambda: not held.exists() or not os.listdir(held), "networks to go")
            if GATEWAY_BRIDGE in daemon.docker_out("network", "ls"):
                daemon.docker("network", "rm", GATEWAY_BRIDGE)
