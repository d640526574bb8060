"""The tasks of this node: one supervised child each, from the managers' word or the disk's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import trio
from loguru import logger

from services.cluster.agent.book import StatusBook
from services.cluster.agent.controller import Controller
from services.cluster.agent.files import TaskFolders
from services.cluster.agent.holdings import Holdings
from services.cluster.agent.ports import Engine, NodeNetworks
from services.cluster.agent.records import Records
from services.cluster.agent.request import LABEL_PREFIX
from services.cluster.agent.task_run import TaskRun, Work
from services.cluster.dispatcher.values import Assignments, SessionFacts
from services.cluster.model.objects import Task
from services.containers.container import Container
from services.containers.labels import task_id_of
from services.errors import EngineError
from supervisor.otp import Backoff, ChildSpec, DynamicSupervisor, Intensity, NotRunning, Restart

log = logger.bind(service="cluster")

NODE_ID_LABEL: Final = f"{LABEL_PREFIX}node.id"

# What fails for want of room on a disk fails again and again; it must not bring down the others.
STEADY: Final = Backoff(first_s=0.1, cap_s=5.0)


class Worker:
    """`run` is a supervised child; what it knows outlives it.

    Attributes:
        runs: the tasks by id.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        controller: Controller,
        guests: Work,
        folders: TaskFolders,
        networks: NodeNetworks,
        holdings: Holdings,
        records: Records,
        book: StatusBook,
    ) -> None:
        """`guests` does the work of tasks that stand for containers started by hand."""
        self._engine = engine
        self._controller = controller
        self._guests = guests
        self._folders = folders
        self._networks = networks
        self._holdings = holdings
        self._records = records
        self._book = book
        self._supervisor = self._new_supervisor()
        self._is_loaded = False
        self.runs: Final[dict[str, TaskRun]] = {}

    async def run(self, *, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED) -> None:
        """Take up what an earlier engine has left, then own the tasks. May be called again."""
        if not self._is_loaded:
            await self._load()
        self._supervisor = self._new_supervisor()
        async with trio.open_nursery() as nursery:
            await nursery.start(self._supervisor.run)
            for run in tuple(self.runs.values()):
                await self._begin(run)
            task_status.started()

    async def apply(self, told: Assignments) -> None:
        """Make true what a message says."""
        if self._holdings.take(told):
            await self._keep_rest()
            self._show_networks()
        assigned = {task.id for task in told.tasks}
        removed = set(told.removed_tasks)
        if told.is_complete:
            removed |= self.runs.keys() - assigned
        async with trio.open_nursery() as nursery:  # each new one is put on disk
            for task in told.tasks:
                nursery.start_soon(self._assign, task)
        for task_id in removed - assigned:
            if run := self.runs.get(task_id):
                run.remove()
        if told.is_complete:
            await self._remove_strangers()

    async def take_facts(self, facts: SessionFacts) -> None:
        """Take over what a manager says of the cluster and of this node."""
        if self._holdings.take_facts(facts):
            await self._keep_rest()

    def _new_supervisor(self) -> DynamicSupervisor:
        # Ends of tasks are no failures; only a supervisor that keeps failing counts here.
        return DynamicSupervisor(name="tasks", intensity=Intensity(max_restarts=100, window_s=10.0))

    async def _load(self) -> None:
        tasks, kept = await self._records.load()
        self._holdings.restore(kept)
        if kept.networks:  # of a node that has had none nothing is known yet
            self._show_networks()
        for task in tasks:
            self.runs[task.id] = self._new_run(task)
            self._book.put(task)
        await self._folders.drop_others(self._wants_files)
        self._is_loaded = True
        log.info("tasks taken up", count=len(tasks))

    def _wants_files(self, task_id: str) -> bool:
        run = self.runs.get(task_id)
        if run is None or run.task.status.state.is_ended:
            return False
        container = self._controller.find(run.task)
        return container is None or container.is_running or container.status.runs == 0

    async def _assign(self, task: Task) -> None:
        run = self.runs.get(task.id)
        if run is not None:
            run.update(task)
            if run.task.status != task.status:
                self._book.put(run.task)  # what we told last may have been lost with the session
            return
        run = self._new_run(task)
        await self._keep(task)
        self.runs[task.id] = run
        await self._begin(run)

    def _new_run(self, task: Task) -> TaskRun:
        is_guest = task.spec.network_attachment_spec is not None
        work: Work = self._guests if is_guest else self._controller
        return TaskRun(
            task,
            work=work,
            keep=self._keep,
            report=self._book.put,
            wait_told=self._holdings.wait_changed,
        )

    async def _begin(self, run: TaskRun) -> None:
        spec = ChildSpec(
            id=run.task.id,
            start=self._follow(run),
            restart=Restart.TRANSIENT,
            shutdown_s=0.0,  # its container runs on without it
            backoff=STEADY,
        )
        with suppress(NotRunning):  # it begins with the supervisor's next start
            await self._supervisor.start_child(spec)

    def _follow(self, run: TaskRun) -> Callable[[], Awaitable[None]]:
        async def follow() -> None:
            await run.run()
            await self._records.delete(run.task.id)
            self._book.forget(run.task.id)
            del self.runs[run.task.id]
            if run.task.networks:
                self._show_networks()  # one that nobody is in any more may go

        return follow

    async def _keep(self, task: Task) -> None:
        try:
            await self._records.put(task)
        except OSError as error:
            # The managers know it then, and tell it to the next engine.
            log.error("task not recorded", task=task.id, error=str(error))

    async def _keep_rest(self) -> None:
        try:
            await self._records.keep(self._holdings.kept())
        except OSError as error:
            log.error("assignments not recorded", error=str(error))

    def _show_networks(self) -> None:
        try:
            holdings = self._holdings
            self._networks.show(holdings.spanning_networks(), holdings.network_keys)
        except EngineError as error:
            log.error("networks as told make no sense", error=str(error))

    async def _remove_strangers(self) -> None:
        """Containers of tasks of ours that no manager knows: left by a disk that was lost."""
        for container in self._engine.table:
            if self._is_stranger(container):
                log.warning("container of an unknown task removed", container=container.id)
                try:
                    await self._engine.remove(container, force=True, volumes=True)
                except EngineError as error:
                    log.error("container not removed", container=container.id, error=str(error))

    def _is_stranger(self, container: Container) -> bool:
        labels = container.definition.config.labels or {}
        node = self._holdings.node
        task_id = task_id_of(container.name, labels)
        is_ours = node is not None and labels.get(NODE_ID_LABEL) == node.id
        return is_ours and bool(task_id) and task_id not in self.runs
