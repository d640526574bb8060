"""What containerd says of a container's task."""

from __future__ import annotations

from typing import Protocol

from services.containerd import TaskInfo, TaskStatus
from services.containers.container import Container
from services.errors import EngineError, NotFound, Unavailable


class Tasks(Protocol):
    """What is needed of containerd."""

    async def get(self, id: str, /) -> TaskInfo:
        """A task. Raises NotFound and other EngineErrors."""


async def task_of(tasks: Tasks, container: Container) -> TaskInfo | None:
    """None when containerd knows no task.

    A shim that does not answer has a task: the container stays as it was last known.

    Raises:
        Unavailable: containerd is away.
        EngineError: it cannot be told, and the container is not known to run.
    """
    try:
        return await tasks.get(container.id)
    except NotFound:
        return None
    except Unavailable:
        raise
    except EngineError:  # too late, or it is being buried: whoever follows it will see
        if not container.state.has_task:
            raise
        return TaskInfo(
            id=container.id,
            pid=container.status.pid,
            status=TaskStatus.RUNNING,
            exit_code=0,
            exited_at_ns=0,
            stdin="",
            stdout="",
            stderr="",
            terminal=container.definition.config.tty,
        )
