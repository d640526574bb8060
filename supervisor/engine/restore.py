"""What brings containers back when the engine starts, and keeps their records true afterwards."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from services.containers import Container
from services.containers.freeze import Freezer
from services.containers.health.probes import OldProbes
from services.containers.networking.connections import Connector
from services.containers.restoring.compare import Comparer
from services.containers.restoring.freezes import Freezes
from services.containers.restoring.reclaim import Reclaimer
from services.containers.restoring.reconcile import Reconciler
from services.containers.restoring.restore import Restorer
from services.containers.update import Updater

from .launch import LaunchParts
from .runs import RunParts
from .sources import ContainerSources


def build_restorer(
    sources: ContainerSources,
    *,
    launch: LaunchParts,
    runs: RunParts,
    start: Callable[[Container], Awaitable[None]],
    updater: Updater,
    connections: Connector,
    freezer: Freezer,
) -> tuple[Restorer, Reconciler]:
    """Make both. `start` starts a container whose restart policy says so."""
    ground, journal = sources.ground, sources.journal
    freezes = Freezes(tasks=ground.containerd.tasks, journal=journal)
    reclaimer = Reclaimer(
        containerd=ground.containerd,
        table=ground.table,
        runs=runs.runs,
        sandboxes=ground.net.sandboxes,
        shm=launch.shm,
        terminals=runs.terminals,
        probes=OldProbes(ground.containerd),
        execs=runs.execs,
        root_filesystems=ground.images,
        volumes=ground.volumes,
        directory=sources.directory,
        disk=sources.disk,
    )
    restorer = Restorer(
        containerd=ground.containerd,
        table=ground.table,
        journal=journal,
        runs=runs.runs,
        remover=runs.remover,
        networks=ground.net.networks,
        sandboxes=ground.net.sandboxes,
        sources=launch.mounts,
        terminals=runs.terminals,
        freezes=freezes,
        comparer=Comparer(
            containerd=ground.containerd,
            table=ground.table,
            journal=journal,
            lives=runs.lives,
            sandboxes=ground.net.sandboxes,
            naming=launch.naming,
            sources=launch.mounts,
            terminals=runs.terminals,
            links=launch.links,
            freezes=freezes,
            reclaimer=reclaimer,
            boot_id=ground.facts.boot_id,
            finish_connects=connections.finish,
        ),
        reclaimer=reclaimer,
        engine_id=ground.engine_id,
        start=start,
        finish_update=updater.finish,
        let_go=freezer.finish,
        stop_rest_of_groups=runs.groups.stop_rest,
    )
    reconciler = Reconciler(
        containerd=ground.containerd,
        table=ground.table,
        runs=runs.runs,
        mender=restorer,
        engine_id=ground.engine_id,
        tidy=connections.try_again,
        finish=runs.remover.finish,
    )
    return restorer, reconciler
