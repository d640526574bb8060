"""containerd's tasks service: the processes of containers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from protos.generated.containerd.runc.v1 import ProcessDetails
from protos.generated.containerd.services.tasks.v1 import (
    CloseIoRequest,
    CreateTaskRequest,
    CreateTaskResponse,
    DeleteProcessRequest,
    DeleteResponse,
    DeleteTaskRequest,
    ExecProcessRequest,
    GetRequest,
    GetResponse,
    KillRequest,
    ListPidsRequest,
    ListPidsResponse,
    ListTasksRequest,
    ListTasksResponse,
    MetricsRequest,
    MetricsResponse,
    PauseTaskRequest,
    ResizePtyRequest,
    ResumeTaskRequest,
    StartRequest,
    StartResponse,
    UpdateTaskRequest,
    WaitRequest,
    WaitResponse,
)
from protos.generated.containerd.v1.types import Process, ProcessInfo, Status
from protos.generated.wire import Any, Empty
from services.errors import NotFound

from ._method import NO_LIMIT_S, SLOW_RPC_LIMIT_S, Method
from ._wire import (
    PROCESS_TYPE_URL,
    RESOURCES_TYPE_URL,
    from_mounts,
    from_runc_options,
    to_ns,
)
from .connection import Connection
from .kept_exits import KeptExits
from .values import Mount, ProcessId, RuncOptions, TaskExit, TaskInfo, TaskMetrics, TaskStatus

_SERVICE: Final = "containerd.services.tasks.v1.Tasks"
CREATE: Final = Method(
    service=_SERVICE,
    name="Create",
    request=CreateTaskRequest,
    reply=CreateTaskResponse,
    limit_s=SLOW_RPC_LIMIT_S,
)
START: Final = Method(
    service=_SERVICE,
    name="Start",
    request=StartRequest,
    reply=StartResponse,
    limit_s=SLOW_RPC_LIMIT_S,
)
DELETE: Final = Method(
    service=_SERVICE,
    name="Delete",
    request=DeleteTaskRequest,
    reply=DeleteResponse,
    limit_s=SLOW_RPC_LIMIT_S,
)
DELETE_PROCESS: Final = Method(
    service=_SERVICE, name="DeleteProcess", request=DeleteProcessRequest, reply=DeleteResponse
)
GET: Final = Method(service=_SERVICE, name="Get", request=GetRequest, reply=GetResponse)
LIST: Final = Method(
    service=_SERVICE, name="List", request=ListTasksRequest, reply=ListTasksResponse
)
KILL: Final = Method(service=_SERVICE, name="Kill", request=KillRequest, reply=Empty)
EXEC: Final = Method(
    service=_SERVICE,
    name="Exec",
    request=ExecProcessRequest,
    reply=Empty,
    limit_s=SLOW_RPC_LIMIT_S,
)
RESIZE_PTY: Final = Method(
    service=_SERVICE, name="ResizePty", request=ResizePtyRequest, reply=Empty
)
CLOSE_IO: Final = Method(service=_SERVICE, name="CloseIO", request=CloseIoRequest, reply=Empty)
PAUSE: Final = Method(service=_SERVICE, name="Pause", request=PauseTaskRequest, reply=Empty)
RESUME: Final = Method(service=_SERVICE, name="Resume", request=ResumeTaskRequest, reply=Empty)
LIST_PIDS: Final = Method(
    service=_SERVICE, name="ListPids", request=ListPidsRequest, reply=ListPidsResponse
)
UPDATE: Final = Method(service=_SERVICE, name="Update", request=UpdateTaskRequest, reply=Empty)
METRICS: Final = Method(
    service=_SERVICE, name="Metrics", request=MetricsRequest, reply=MetricsResponse
)
WAIT: Final = Method(
    service=_SERVICE, name="Wait", request=WaitRequest, reply=WaitResponse, limit_s=NO_LIMIT_S
)

_STATUS: Final[Mapping[Status, TaskStatus]] = MappingProxyType(
    {
        Status.CREATED: TaskStatus.CREATED,
        Status.RUNNING: TaskStatus.RUNNING,
        Status.STOPPED: TaskStatus.STOPPED,
        Status.PAUSED: TaskStatus.PAUSED,
        Status.PAUSING: TaskStatus.PAUSING,
    }
)


class Tasks:
    """The task of container `id`, or with an `exec_id` a process that was added to it.

    NotFound when there is no such task or process, or it has ended and the call needs it alive. A
    task that containerd has forgotten is there for `get`, `wait` and `delete` if its exit was kept.
    """

    def __init__(self, connection: Connection, namespace: str, kept_exits: KeptExits) -> None:
        self._connection = connection
        self._namespace = namespace
        self._kept_exits = kept_exits

    async def create(
        self,
        id: str,
        *,
        rootfs: Sequence[Mount] = (),
        stdin: str = "",
        stdout: str = "",
        stderr: str = "",
        terminal: bool = False,
        options: RuncOptions | None = None,
    ) -> int:
        """Make the container's namespaces and init process, stopped before its first instruction.

        The streams are paths of FIFOs, which the shim opens for reading and writing; `stderr` is
        empty with a terminal. Without a terminal the runc shim refuses an empty `stdout` or
        `stderr` beside a stream that is not: give all or none (`stdin` may be left out).

        Returns the init's pid on the host.
        """
        request = CreateTaskRequest(
            container_id=id,
            rootfs=from_mounts(rootfs),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            terminal=terminal,
            options=from_runc_options(options),
        )
        pid = (await self._connection.unary(CREATE, request, id)).pid
        self._kept_exits.forget(self._namespace, id)
        return pid

    async def start(self, id: str, exec_id: str = "") -> int:
        """Let the created process run; its pid on the host."""
        request = StartRequest(container_id=id, exec_id=exec_id)
        return (await self._connection.unary(START, request, _name(id, exec_id))).pid

    async def kill(self, id: str, signal: int, *, exec_id: str = "", all: bool = False) -> None:
        """Send a signal to the process, or with `all` to every one of the container."""
        request = KillRequest(container_id=id, exec_id=exec_id, signal=signal, all=all)
        await self._connection.unary(KILL, request, _name(id, exec_id))

    async def wait(self, id: str, exec_id: str = "") -> TaskExit:
        """Block, without a limit, until the process has exited; at once if it has.

        Raises Unavailable when the connection is lost: ask again once there is a new one.
        """
        request = WaitRequest(container_id=id, exec_id=exec_id)
        try:
            reply = await self._connection.unary(WAIT, request, _name(id, exec_id))
        except NotFound:
            if (kept := self._kept(id, exec_id)) is None:
                raise
            return kept
        return TaskExit(code=reply.exit_status, exited_at_ns=to_ns(reply.exited_at))

    async def delete(self, id: str) -> TaskExit:
        """Remove the exited (or never started) task with its shim. Conflict while it runs."""
        try:
            reply = await self._connection.unary(DELETE, DeleteTaskRequest(container_id=id), id)
        except NotFound:
            if (kept := self._kept_exits.forget(self._namespace, id)) is None:
                raise
            return kept
        self._kept_exits.forget(self._namespace, id)
        return TaskExit(code=reply.exit_status, exited_at_ns=to_ns(reply.exited_at))

    async def delete_process(self, id: str, exec_id: str) -> TaskExit:
        """Remove what the shim keeps of an exited exec."""
        request = DeleteProcessRequest(container_id=id, exec_id=exec_id)
        reply = await self._connection.unary(DELETE_PROCESS, request, _name(id, exec_id))
        return TaskExit(code=reply.exit_status, exited_at_ns=to_ns(reply.exited_at))

    async def get(self, id: str, exec_id: str = "") -> TaskInfo:
        """The state of the process, as its shim sees it now."""
        request = GetRequest(container_id=id, exec_id=exec_id)
        try:
            reply = await self._connection.unary(GET, request, _name(id, exec_id))
        except NotFound:
            if (kept := self._kept(id, exec_id)) is None:
                raise
            return _ended(id, kept)
        return _to_info(reply.process or Process())

    async def exec(
        self,
        id: str,
        exec_id: str,
        *,
        process: bytes,
        stdin: str = "",
        stdout: str = "",
        stderr: str = "",
        terminal: bool = False,
    ) -> None:
        """Add a process (an OCI `Process` in JSON); `start` with the same `exec_id` runs it."""
        request = ExecProcessRequest(
            container_id=id,
            exec_id=exec_id,
            spec=Any(type_url=PROCESS_TYPE_URL, value=process),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            terminal=terminal,
        )
        await self._connection.unary(EXEC, request, _name(id, exec_id))

    async def resize_pty(self, id: str, exec_id: str = "", *, width: int, height: int) -> None:
        """Tell the terminal its size, in characters."""
        request = ResizePtyRequest(container_id=id, exec_id=exec_id, width=width, height=height)
        await self._connection.unary(RESIZE_PTY, request, _name(id, exec_id))

    async def close_io(self, id: str, exec_id: str = "") -> None:
        """Let the shim drop its own hold on stdin, so that the writer's end of file arrives."""
        request = CloseIoRequest(container_id=id, exec_id=exec_id, stdin=True)
        await self._connection.unary(CLOSE_IO, request, _name(id, exec_id))

    async def pause(self, id: str) -> None:
        """Freeze every process of the container."""
        await self._connection.unary(PAUSE, PauseTaskRequest(container_id=id), id)

    async def resume(self, id: str) -> None:
        """Let a frozen container go on."""
        await self._connection.unary(RESUME, ResumeTaskRequest(container_id=id), id)

    async def pids(self, id: str) -> list[ProcessId]:
        """The processes in the container's cgroup."""
        reply = await self._connection.unary(LIST_PIDS, ListPidsRequest(container_id=id), id)
        return [
            ProcessId(pid=process.pid, exec_id=_exec_id(process)) for process in reply.processes
        ]

    async def metrics(self, id: str) -> TaskMetrics:
        """What the container uses now, as the shim read it from its cgroup."""
        request = MetricsRequest(filters=[f'id=="{id}"'])
        reply = await self._connection.unary(METRICS, request, id)
        for metric in reply.metrics:
            if metric.id == id and metric.data is not None:
                return TaskMetrics(
                    timestamp_ns=to_ns(metric.timestamp),
                    type_url=metric.data.type_url,
                    data=metric.data.value,
                )
        raise NotFound(f"{METRICS.about(id)}: no running task")

    async def update(self, id: str, resources: bytes) -> None:
        """Change the container's limits: an OCI `LinuxResources` in JSON."""
        request = UpdateTaskRequest(
            container_id=id, resources=Any(type_url=RESOURCES_TYPE_URL, value=resources)
        )
        await self._connection.unary(UPDATE, request, id)

    async def list(self) -> list[TaskInfo]:
        """All tasks of the namespace, without their execs.

        containerd asks one shim after the other: a stuck one holds this up to the limit. A loop
        over `get`, each under a deadline, does not have that.
        """
        reply = await self._connection.unary(LIST, ListTasksRequest())
        return [_to_info(process) for process in reply.tasks]

    def _kept(self, id: str, exec_id: str) -> TaskExit | None:
        return None if exec_id else self._kept_exits.get(self._namespace, id)


def _ended(id: str, exit_: TaskExit) -> TaskInfo:
    """A task of which nothing is left but how it ended."""
    return TaskInfo(
        id=id,
        pid=0,
        status=TaskStatus.STOPPED,
        exit_code=exit_.code,
        exited_at_ns=exit_.exited_at_ns,
        stdin="",
        stdout="",
        stderr="",
        terminal=False,
    )


def _name(id: str, exec_id: str) -> str:
    return f"{id} exec {exec_id}" if exec_id else id


def _to_info(process: Process) -> TaskInfo:
    return TaskInfo(
        # Get answers with the container's id in `container_id` or in `id`, by containerd's version.
        id=process.id or process.container_id,
        pid=process.pid,
        status=_STATUS.get(process.status, TaskStatus.UNKNOWN),
        exit_code=process.exit_status,
        exited_at_ns=to_ns(process.exited_at),
        stdin=process.stdin,
        stdout=process.stdout,
        stderr=process.stderr,
        terminal=process.terminal,
    )


def _exec_id(process: ProcessInfo) -> str:
    if process.info is None or not process.info.type_url.endswith("ProcessDetails"):
        return ""
    return ProcessDetails.parse(process.info.value).exec_id
