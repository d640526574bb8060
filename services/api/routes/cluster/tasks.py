"""Tag Task of the Engine API."""

from __future__ import annotations

from typing import Final

import trio

from services.api.cluster_face import ClusterFace
from services.api.routes.cluster.logs import logs_answer
from services.api.routes.cluster.requests import answer, current_request
from services.api.types.cluster.tasks import TaskWriter
from services.api.wire.responses import EngineResponse
from services.cluster.dispatcher.values import LogSelector

BATCH: Final = 500
"""Tasks that are written before others get their turn: 10 ms."""


class Routes:
    """The operations on tasks."""

    def __init__(self, face: ClusterFace) -> None:
        self._face = face

    async def list(self) -> EngineResponse:
        """GET /tasks (TaskList)."""
        filters = current_request().query.filters()
        writer, wire = TaskWriter(), []
        for number, task in enumerate(self._face.control().tasks.list(filters)):
            wire.append(writer.to_wire(task))
            if number % BATCH == BATCH - 1:
                await trio.lowlevel.checkpoint()
        return answer(wire)

    async def inspect(self, ref: str) -> EngineResponse:
        """GET /tasks/{id} (TaskInspect)."""
        return answer(TaskWriter().to_wire(self._face.control().tasks.get(ref)))

    async def logs(self, ref: str) -> EngineResponse:
        """GET /tasks/{id}/logs (TaskLogs)."""
        control = self._face.control()

        def chosen() -> tuple[LogSelector, bool]:
            task = control.tasks.get(ref).task
            container = task.spec.container_spec
            return LogSelector(task_ids=(task.id,)), container is not None and container.tty

        return logs_answer(current_request(), control.logs, chosen)
