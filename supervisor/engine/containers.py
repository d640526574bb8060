"""The containers service: its parts, each made once and handed what it needs of the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio

from services.containers import Container
from services.containers.containers import Containers
from services.containers.create import Creator
from services.containers.definitions import Definer
from services.containers.device_limits import DeviceLimits
from services.containers.freeze import Freezer
from services.containers.groups import Groups
from services.containers.journal import Journal
from services.containers.log_budget import LogBudget, LogPlaces
from services.containers.networking.connections import Connector
from services.containers.prune import Pruner
from services.containers.restoring.reconcile import Reconciler
from services.containers.restoring.restore import Restorer
from services.containers.runs.oom import OomKills
from services.containers.runs.run import Runs
from services.containers.runs.running import Running
from services.containers.sizes import Sizes
from services.containers.stats import KernelFiles, Statistics
from services.containers.update import Updater
from supervisor.configuration.in_force import Current

from .ground import SNAPSHOTTER, GroundParts
from .launch import build_launch
from .restore import build_restorer
from .runs import build_runs
from .sources import ContainerSources

DISK_THREADS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerParts:
    """What of the containers is somebody's child, or spoken to by others."""

    containers: Containers
    running: Running
    restorer: Restorer
    reconciler: Reconciler
    oom_kills: OomKills
    runs: Runs
    groups: Groups
    log_budget: LogBudget


def build_containers(ground: GroundParts, *, is_ending: Callable[[], bool]) -> ContainerParts:
    """The operations on containers, their supervisor, and what brings them back at the start.

    `is_ending`: whether the daemon as a whole is asked to end, and not a part to restart.
    """
    disk = trio.CapacityLimiter(DISK_THREADS)
    journal = Journal(store=ground.store, events=ground.bus)
    sources = ContainerSources(ground=ground, journal=journal, disk=disk, is_ending=is_ending)

    async def start(container: Container) -> None:
        await containers.start(container)

    launch = build_launch(sources)
    runs = build_runs(sources, launch=launch, start=start)
    creator = Creator(
        table=ground.table,
        journal=journal,
        images=ground.images,
        definer=Definer(
            table=ground.table,
            networks=ground.net.networks,
            facts=ground.facts,
            defaults=ground.current.defaults,
            log_defaults=partial(_log_defaults, ground.current),
            snapshotter=SNAPSHOTTER,
            disk=disk,
        ),
        volumes=ground.volumes,
        directory=sources.directory,
        disk=disk,
    )
    sizes = Sizes(ground.containerd.snapshots)
    updater = Updater(
        tasks=ground.containerd.tasks,
        devices=DeviceLimits(launch.cgroups),
        journal=journal,
        facts=ground.facts,
    )
    connections = Connector(
        journal=journal,
        networks=ground.net.networks,
        sandboxes=ground.net.sandboxes,
        naming=launch.naming,
    )
    freezer = Freezer(tasks=ground.containerd.tasks, journal=journal, runs=runs.runs)
    containers = Containers(
        containerd=ground.containerd,
        table=ground.table,
        journal=journal,
        runs=runs.runs,
        lives=runs.lives,
        creator=creator,
        stopper=runs.stopper,
        remover=runs.remover,
        execs=runs.execs,
        terminals=runs.terminals,
        links=launch.links,
        connections=connections,
        naming=launch.naming,
        statistics=Statistics(
            KernelFiles(launch.cgroups, host_memory_bytes=ground.facts.memory_total_bytes)
        ),
        updater=updater,
        freezer=freezer,
        sizes=sizes,
        pruner=Pruner(
            table=ground.table,
            journal=journal,
            written_bytes=sizes.written_bytes,
            remove=runs.remover.remove,
        ),
        images=ground.images,
        volumes=ground.volumes,
        probes=runs.health.probes,
        added_mounts=launch.added_mounts,
    )
    restorer, reconciler = build_restorer(
        sources,
        launch=launch,
        runs=runs,
        start=start,
        updater=updater,
        connections=connections,
        freezer=freezer,
    )
    return ContainerParts(
        containers=containers,
        running=runs.running,
        restorer=restorer,
        reconciler=reconciler,
        oom_kills=launch.oom_kills,
        runs=runs.runs,
        groups=runs.groups,
        log_budget=LogBudget(
            ground.table,
            LogPlaces(
                log_of=runs.terminals.log,
                path_of=runs.terminals.log_path,
                spool_of=lambda container: runs.terminals.directory / container.id,
            ),
            budget_bytes=lambda: ground.current.settings().containers.log_budget_bytes,
            counts=runs.terminals.log_counts,
        ),
    )


def _log_defaults(current: Current) -> tuple[str, Mapping[str, str]]:
    wanted = current.settings().containers
    return wanted.log_driver, dict(wanted.log_opts)
