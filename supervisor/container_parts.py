"""The containers service: its parts, each made once and handed what it needs of the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio

from services.containerd import Containerd, Shims
from services.containers import Container, ContainerTable
from services.containers.added_mounts import AddedMounts
from services.containers.apparmor import AppArmor
from services.containers.burial import Burials
from services.containers.cdi import CdiDevices
from services.containers.cgroup_files import CgroupFiles
from services.containers.connections import Connector
from services.containers.containers import Containers
from services.containers.create import Creator
from services.containers.device_limits import DeviceLimits
from services.containers.execs import Execs
from services.containers.freeze import Freezer
from services.containers.groups import Groups
from services.containers.health import HealthWatcher
from services.containers.holdings import Holdings
from services.containers.hosts_file import HostsFiles
from services.containers.joining import Joiner
from services.containers.journal import Journal
from services.containers.launch import TaskLauncher
from services.containers.life import Lives
from services.containers.links import Links
from services.containers.log_budget import LogBudget, LogPlaces
from services.containers.mount_sources import MountSources
from services.containers.naming import Naming, ResolvConfs
from services.containers.oom import OomKills
from services.containers.probes import OldProbes
from services.containers.prune import Pruner
from services.containers.realtime import Realtime, RealtimeShare
from services.containers.reclaim import Reclaimer
from services.containers.reconcile import Reconciler
from services.containers.remove import Remover
from services.containers.resolv_conf import Wishes
from services.containers.restore import Restorer
from services.containers.run import Runs
from services.containers.running import Running
from services.containers.runtimes import Runtimes
from services.containers.shm import SharedMemory
from services.containers.sizes import Sizes
from services.containers.spec_source import SpecSource
from services.containers.stats import KernelFiles, Statistics
from services.containers.stop import Stopper
from services.containers.stop_order import StopOrder
from services.containers.task_making import TaskMaker
from services.containers.terminals import Terminals
from services.containers.update import Updater
from services.events import EventBus
from services.images import Images
from services.networks import Networks, Sandboxes
from services.networks.dns import Dns
from services.store import Store
from services.system import HostFacts
from services.volumes import Volumes

from .in_force import Current
from .otp import DynamicSupervisor, Intensity
from .settings import Settings
from .sources import SNAPSHOTTER

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


def build_containers(
    settings: Settings,
    *,
    facts: HostFacts,
    engine_id: str,
    current: Current,
    containerd: Containerd,
    store: Store,
    bus: EventBus,
    table: ContainerTable,
    images: Images,
    networks: Networks,
    sandboxes: Sandboxes,
    dns: Dns,
    volumes: Volumes,
    apparmor: AppArmor,
    cdi: CdiDevices,
    is_ending: Callable[[], bool],
) -> ContainerParts:
    """The operations on containers, their supervisor, and what brings them back at the start.

    `is_ending`: whether the daemon as a whole is asked to end, and not a part to restart.
    """
    directory = settings.data_root / "containers"
    disk = trio.CapacityLimiter(DISK_THREADS)
    # What it looks at, no reload changes: it is where running containers' cgroups lie.
    defaults = current.defaults()
    cgroups = CgroupFiles(facts=facts, defaults=defaults)
    oom_kills = OomKills(cgroups, disk=disk)
    journal = Journal(store=store, events=bus)
    # Ends of containers are no failures; only a supervisor that keeps failing counts here.
    supervisor = DynamicSupervisor(
        name="running", intensity=Intensity(max_restarts=100, window_s=10)
    )
    runs = Runs(start_child=supervisor.start_child)
    terminals = Terminals(
        containerd=containerd, data_root=settings.data_root, exec_root=settings.exec_root
    )
    hosts = HostsFiles(directory=directory, disk=disk)
    links = Links(table, hosts=hosts)
    resolv_confs = ResolvConfs(partial(_dns, current))
    naming = Naming(dns=dns, hosts=hosts, resolv_confs=resolv_confs, directory=directory, disk=disk)
    shm = SharedMemory(settings.exec_root / "shm")

    def own_shm(container_id: str) -> str:
        return str(shm.path(container_id)) if shm.is_held(container_id) else ""

    specs = SpecSource(
        facts=facts,
        defaults=current.defaults,
        directory=directory,
        resolv_confs=resolv_confs,
        host_gateways=partial(_host_gateways, current, networks),
        links=links,
        apparmor=apparmor,
        cdi=cdi,
        realtime=RealtimeShare(cgroup=facts.cgroup, wanted=partial(_realtime, current)),
        disk=disk,
    )
    order = StopOrder(table)

    def outlives() -> bool:
        return current.settings().live_restore or not is_ending()

    stopper = Stopper(
        containerd=containerd,
        journal=journal,
        runs=runs,
        order=order,
        default_grace_s=lambda: current.settings().containers.stop_timeout_s,
    )
    running = Running(
        supervisor=supervisor,
        table=table,
        stopper=stopper,
        order=order,
        outlives=outlives,
        shutdown_timeout_s=lambda: current.settings().shutdown_timeout_s,
    )
    execs = Execs(
        containerd=containerd,
        journal=journal,
        runs=runs,
        specs=specs,
        directory=terminals.directory,
    )

    async def forget(container: Container) -> None:
        execs.forget(container)
        groups.forget(container)
        await terminals.forget(container)

    remover = Remover(
        table=table,
        journal=journal,
        runs=runs,
        stopper=stopper,
        root_filesystems=images,
        volumes=volumes,
        say_farewell=terminals.say_farewell,
        forget=forget,
        directory=directory,
        disk=disk,
    )
    added_mounts = AddedMounts()
    sources = MountSources(
        volumes=volumes,
        images=images,
        added=added_mounts,
        directory=settings.exec_root / "mounts",
        disk=disk,
    )
    health = HealthWatcher(
        containerd=containerd, journal=journal, execs=execs, end=stopper.end_unhealthy
    )

    async def start_again(container: Container) -> None:
        await containers.start(container)

    groups = Groups(table, journal=journal, stop=stopper.stop_for_group, start=start_again)
    burials = Burials(Shims(containerd.address, containerd.namespace), disk=disk)
    holdings = Holdings(
        containerd=containerd,
        sandboxes=sandboxes,
        naming=naming,
        sources=sources,
        shm=shm,
        table=table,
        oom_kills=oom_kills,
        burials=burials,
        disk=disk,
    )
    lives = Lives(
        groups=groups,
        containerd=containerd,
        journal=journal,
        launcher=TaskLauncher(
            containerd=containerd,
            journal=journal,
            networks=networks,
            sandboxes=sandboxes,
            naming=naming,
            joiner=Joiner(table, own_shm),
            links=links,
            shm=shm,
            maker=TaskMaker(
                containerd=containerd,
                root_filesystems=images,
                specs=specs,
                sources=sources,
                runtimes=Runtimes(
                    lambda: current.settings().containers.runtimes,
                    state_directory=settings.exec_root / "runc",
                    scripts=settings.exec_root / "runtimes",
                    systemd_cgroup=defaults.cgroup_driver == "systemd",
                ),
                burials=burials,
                holdings=holdings,
                engine_id=engine_id,
            ),
            holdings=holdings,
            boot_id=facts.boot_id,
            oom_kills=oom_kills,
            burials=burials,
            disk=disk,
        ),
        holdings=holdings,
        oom_kills=oom_kills,
        stopper=stopper,
        runs=runs,
        health=health,
        terminals=terminals,
        auto_remove=remover.remove_stopped,
        outlives=outlives,
    )
    creator = Creator(
        table=table,
        journal=journal,
        images=images,
        networks=networks,
        volumes=volumes,
        facts=facts,
        defaults=current.defaults,
        log_defaults=partial(_log_defaults, current),
        snapshotter=SNAPSHOTTER,
        directory=directory,
        disk=disk,
    )
    sizes = Sizes(containerd.snapshots)
    updater = Updater(
        tasks=containerd.tasks, devices=DeviceLimits(cgroups), journal=journal, facts=facts
    )
    connections = Connector(journal=journal, networks=networks, sandboxes=sandboxes, naming=naming)
    freezer = Freezer(tasks=containerd.tasks, journal=journal)
    containers = Containers(
        containerd=containerd,
        table=table,
        journal=journal,
        runs=runs,
        lives=lives,
        creator=creator,
        stopper=stopper,
        remover=remover,
        execs=execs,
        terminals=terminals,
        links=links,
        connections=connections,
        naming=naming,
        statistics=Statistics(KernelFiles(cgroups, host_memory_bytes=facts.memory_total_bytes)),
        updater=updater,
        freezer=freezer,
        sizes=sizes,
        pruner=Pruner(
            table=table,
            journal=journal,
            written_bytes=sizes.written_bytes,
            remove=remover.remove,
        ),
        images=images,
        volumes=volumes,
        probes=health.probes,
        added_mounts=added_mounts,
    )
    restorer = Restorer(
        containerd=containerd,
        table=table,
        journal=journal,
        runs=runs,
        lives=lives,
        remover=remover,
        networks=networks,
        sandboxes=sandboxes,
        naming=naming,
        sources=sources,
        terminals=terminals,
        links=links,
        reclaimer=Reclaimer(
            containerd=containerd,
            table=table,
            runs=runs,
            sandboxes=sandboxes,
            shm=shm,
            terminals=terminals,
            probes=OldProbes(containerd),
            execs=execs,
            root_filesystems=images,
            volumes=volumes,
            directory=directory,
            disk=disk,
        ),
        engine_id=engine_id,
        boot_id=facts.boot_id,
        start=containers.start,
        finish_update=updater.finish,
        finish_connects=connections.finish,
        let_go=freezer.finish,
        stop_rest_of_groups=groups.stop_rest,
    )
    reconciler = Reconciler(
        containerd=containerd,
        table=table,
        runs=runs,
        mender=restorer,
        engine_id=engine_id,
        tidy=connections.try_again,
        finish=remover.finish,
    )
    return ContainerParts(
        containers=containers,
        running=running,
        restorer=restorer,
        reconciler=reconciler,
        oom_kills=oom_kills,
        runs=runs,
        groups=groups,
        log_budget=LogBudget(
            table,
            LogPlaces(
                log_of=terminals.log,
                path_of=terminals.log_path,
                spool_of=lambda container: terminals.directory / container.id,
            ),
            budget_bytes=lambda: current.settings().containers.log_budget_bytes,
            counts=terminals.log_counts,
        ),
    )


def _dns(current: Current) -> Wishes:
    wanted = current.settings().containers
    return Wishes(servers=wanted.dns, searches=wanted.dns_search, options=wanted.dns_options)


def _log_defaults(current: Current) -> tuple[str, Mapping[str, str]]:
    wanted = current.settings().containers
    return wanted.log_driver, dict(wanted.log_opts)


def _realtime(current: Current) -> Realtime:
    wanted = current.settings().containers
    return Realtime(period_us=wanted.cpu_rt_period_us, runtime_us=wanted.cpu_rt_runtime_us)


def _host_gateways(current: Current, networks: Networks) -> tuple[str, ...]:
    """What host-gateway means in --add-host: the default bridge's address if nobody says."""
    return current.settings().network.host_gateways or tuple(networks.bridge_addresses)
