"""Tag Task of the Engine API."""

from __future__ import annotations

from services.api.cluster_face import ClusterFace
from services.api.responses import EngineResponse
from services.api.routes.cluster.logs import logs_answer
from services.api.routes.cluster.requests import answer, current_request
from services.api.types.cluster.tasks import task_to_wire
from services.cluster.dispatcher.values import LogSelector


class Routes:
    """The operations on tasks."""

    def __init__(self, face: ClusterFace) -> None:
        self._face = face

    async def list(self) -> EngineResponse:
        """GET /tasks (TaskList)."""
        filters = current_request().query.filters()
        return answer([task_to_wire(task) for task in self._face.control().tasks.list(filters)])

    async def inspect(self, ref: str) -> EngineResponse:
        """GET /tasks/{id} (TaskInspect)."""
        return answer(task_to_wire(self._face.control().tasks.get(ref)))

    async def logs(self, ref: str) -> EngineResponse:
        """GET /tasks/{id}/logs (TaskLogs)."""
        control = self._face.control()

        def chosen() -> tuple[LogSelector, bool]:
            task = control.tasks.get(ref).task
            container = task.spec.container_spec
            return LogSelector(task_ids=(task.id,)), container is not None and container.tty

        return logs_answer(current_request(), control.logs, chosen)
