"""What follows containers' runs, from their launch to their end, and stops or removes them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from services.containers import Container
from services.containers.execs.execs import Execs
from services.containers.groups import Groups
from services.containers.health.watching import HealthWatcher
from services.containers.remove import Remover
from services.containers.runs.life import Lives
from services.containers.runs.run import Runs
from services.containers.runs.running import Running
from services.containers.stop import Stopper
from services.containers.stop_order import StopOrder
from services.containers.terminals import Terminals
from services.containers.thaw import Thaw
from supervisor.otp import DynamicSupervisor, Intensity

from .launch import LaunchParts
from .sources import ContainerSources


@dataclass(frozen=True, slots=True, kw_only=True)
class RunParts:
    """What others need of them."""

    runs: Runs
    running: Running
    lives: Lives
    stopper: Stopper
    remover: Remover
    execs: Execs
    groups: Groups
    health: HealthWatcher
    terminals: Terminals


def build_runs(
    sources: ContainerSources,
    *,
    launch: LaunchParts,
    start: Callable[[Container], Awaitable[None]],
) -> RunParts:
    """Make them. `start` starts a container again that a failure in its group has stopped."""
    ground, journal = sources.ground, sources.journal
    settings = ground.current.settings()
    # Ends of containers are no failures; only a supervisor that keeps failing counts here.
    supervisor = DynamicSupervisor(
        name="running", intensity=Intensity(max_restarts=100, window_s=10)
    )
    runs = Runs(start_child=supervisor.start_child)
    terminals = Terminals(
        containerd=ground.containerd,
        data_root=settings.data_root,
        exec_root=settings.exec_root,
    )
    order = StopOrder(ground.table)

    def outlives() -> bool:
        return ground.current.settings().live_restore or not sources.is_ending()

    stopper = Stopper(
        containerd=ground.containerd,
        journal=journal,
        runs=runs,
        order=order,
        thaw=Thaw(launch.cgroups),
        default_grace_s=lambda: ground.current.settings().containers.stop_timeout_s,
    )
    running = Running(
        supervisor=supervisor,
        table=ground.table,
        stopper=stopper,
        order=order,
        outlives=outlives,
        shutdown_timeout_s=lambda: ground.current.settings().shutdown_timeout_s,
    )
    execs = Execs(
        containerd=ground.containerd,
        journal=journal,
        runs=runs,
        specs=launch.specs,
        directory=terminals.directory,
    )

    async def forget(container: Container) -> None:
        execs.forget(container)
        groups.forget(container)
        await terminals.forget(container)

    remover = Remover(
        table=ground.table,
        journal=journal,
        runs=runs,
        stopper=stopper,
        root_filesystems=ground.images,
        volumes=ground.volumes,
        say_farewell=terminals.say_farewell,
        forget=forget,
        directory=sources.directory,
        disk=sources.disk,
    )
    health = HealthWatcher(
        containerd=ground.containerd, journal=journal, execs=execs, end=stopper.end_unhealthy
    )

    groups = Groups(ground.table, journal=journal, stop=stopper.stop_for_group, start=start)
    lives = Lives(
        groups=groups,
        containerd=ground.containerd,
        journal=journal,
        launcher=launch.launcher,
        holdings=launch.holdings,
        oom_kills=launch.oom_kills,
        stopper=stopper,
        runs=runs,
        health=health,
        terminals=terminals,
        auto_remove=remover.remove_stopped,
        outlives=outlives,
    )
    return RunParts(
        runs=runs,
        running=running,
        lives=lives,
        stopper=stopper,
        remover=remover,
        execs=execs,
        groups=groups,
        health=health,
        terminals=terminals,
    )
