"""An agent's parts, each made once and handed what it needs of the engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from services.cluster.agent.agent import Agent, ManagerLink
from services.cluster.agent.book import StatusBook
from services.cluster.agent.controller import Controller
from services.cluster.agent.files import TaskFolders
from services.cluster.agent.guests import GuestTasks
from services.cluster.agent.holdings import Holdings
from services.cluster.agent.late_starts import LateStarts
from services.cluster.agent.logs import LogService
from services.cluster.agent.ports import (
    Describer,
    Engine,
    FactsListener,
    Images,
    LocalNetworks,
    NodeNetworks,
    Places,
    Registries,
)
from services.cluster.agent.pulling import Puller
from services.cluster.agent.records import Records
from services.cluster.agent.worker import Worker
from services.cluster.dispatcher.source import AssignmentSource
from services.containers.added_mounts import AddedMounts

DISK_THREADS: Final = 4
TASK_FOLDERS: Final = "tasks"  # below exec-root


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentParts:
    """What others speak to. `agent.run` is somebody's child."""

    agent: Agent
    worker: Worker
    holdings: Holdings


def build_agent(
    *,
    source: AssignmentSource,
    engine: Engine,
    added_mounts: AddedMounts,
    images: Images,
    registries: Registries,
    networks: NodeNetworks,
    local_networks: LocalNetworks,
    places: Places,
    describe: Describer,
    directory: Path,
    exec_root: Path,
    listeners: Sequence[FactsListener] = (),
    on_removed: Callable[[], None] = lambda: None,
) -> AgentParts:
    """Make them; starts nothing. `directory` is the agent's own, below the cluster's on disk.

    `networks` are the cluster's on this node, `local_networks` all that the engine knows.
    """
    disk = trio.CapacityLimiter(DISK_THREADS)
    holdings, book = Holdings(), StatusBook()
    folders = TaskFolders(exec_root / TASK_FOLDERS, disk=disk)
    is_first = added_mounts.adder is None
    added_mounts.adder = folders
    controller = Controller(
        engine=engine,
        puller=Puller(images=images, registries=registries),
        folders=folders,
        networks=networks,
        holdings=holdings,
        describe=describe,
    )
    link = ManagerLink()
    guests = GuestTasks(table=engine.table, networks=networks, session=link.require)
    worker = Worker(
        engine=engine,
        controller=controller,
        guests=guests,
        folders=folders,
        networks=networks,
        holdings=holdings,
        records=Records(directory, disk=disk),
        book=book,
    )
    agent = Agent(
        source=source,
        worker=worker,
        book=book,
        logs=LogService(engine=engine, controller=controller, runs=worker.runs),
        late_starts=LateStarts(
            engine=engine, networks=local_networks, holdings=holdings, is_first=is_first
        ),
        link=link,
        guests=guests,
        places=places,
        describe=describe,
        listeners=listeners,
        on_removed=on_removed,
    )
    return AgentParts(agent=agent, worker=worker, holdings=holdings)


async def drop_files(exec_root: Path) -> None:
    """The node has left its cluster, and no container of a task is there: nor are secrets."""
    folders = TaskFolders(exec_root / TASK_FOLDERS, disk=trio.CapacityLimiter(1))
    await folders.drop_others(lambda _: False)
