"""What brings containers back when the engine starts, and keeps their records true afterwards."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from services.containers import Container
from services.containers.freeze import Freezer
from services.containers.health.probes import OldProbes
from services.containers.journal import Journal
from services.containers.networking.connections import Connector
from services.containers.restoring.compare import Comparer
from services.containers.restoring.freezes import Freezes
from services.containers.restoring.reclaim import Reclaimer
from services.containers.restoring.reconcile import Reconciler
from services.containers.restoring.restore import Restorer
from services.containers.update import Updater

from .container_sources import ContainerSources
from .launch_parts import LaunchParts
from .run_parts import RunParts


def build_restorer(
    sources: ContainerSources,
    *,
    journal: Journal,
    disk: trio.CapacityLimiter,
    launch: LaunchParts,
    runs: RunParts,
    start: Callable[[Container], Awaitable[None]],
    updater: Updater,
    connections: Connector,
    freezer: Freezer,
) -> tuple[Restorer, Reconciler]:
    """Make both. `start` starts a container whose restart policy says so."""
    freezes = Freezes(tasks=sources.containerd.tasks, journal=journal)
    reclaimer = Reclaimer(
        containerd=sources.containerd,
        table=sources.table,
        runs=runs.runs,
        sandboxes=sources.sandboxes,
        shm=launch.shm,
        terminals=runs.terminals,
        probes=OldProbes(sources.containerd),
        execs=runs.execs,
        root_filesystems=sources.images,
        volumes=sources.volumes,
        directory=sources.directory,
        disk=disk,
    )
    restorer = Restorer(
        containerd=sources.containerd,
        table=sources.table,
        journal=journal,
        runs=runs.runs,
        remover=runs.remover,
        networks=sources.networks,
        sandboxes=sources.sandboxes,
        sources=launch.mounts,
        terminals=runs.terminals,
        freezes=freezes,
        comparer=Comparer(
            containerd=sources.containerd,
            table=sources.table,
            journal=journal,
            lives=runs.lives,
            sandboxes=sources.sandboxes,
            naming=launch.naming,
            sources=launch.mounts,
            terminals=runs.terminals,
            links=launch.links,
            freezes=freezes,
            reclaimer=reclaimer,
            boot_id=sources.facts.boot_id,
            finish_connects=connections.finish,
        ),
        reclaimer=reclaimer,
        engine_id=sources.engine_id,
        start=start,
        finish_update=updater.finish,
        let_go=freezer.finish,
        stop_rest_of_groups=runs.groups.stop_rest,
    )
    reconciler = Reconciler(
        containerd=sources.containerd,
        table=sources.table,
        runs=runs.runs,
        mender=restorer,
        engine_id=sources.engine_id,
        tidy=connections.try_again,
        finish=runs.remover.finish,
    )
    return restorer, reconciler
