"""What launches containers' runs, and what each run holds meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import trio

from services.containerd import Shims
from services.containers.added_mounts import AddedMounts
from services.containers.cgroup_files import CgroupFiles
from services.containers.joining import Joiner
from services.containers.journal import Journal
from services.containers.mount_sources import MountSources
from services.containers.networking.hosts_file import HostsFiles
from services.containers.networking.links import Links
from services.containers.networking.naming import Naming, ResolvConfs
from services.containers.networking.resolv_conf import Wishes
from services.containers.realtime import Realtime, RealtimeShare
from services.containers.runs.burial import Burials
from services.containers.runs.holdings import Holdings
from services.containers.runs.launch import TaskLauncher
from services.containers.runs.oom import OomKills
from services.containers.runs.shm import SharedMemory
from services.containers.runs.task_making import TaskMaker
from services.containers.runtimes import Runtimes
from services.containers.spec_source import SpecSource
from services.networks import Networks

from .container_sources import ContainerSources
from .in_force import Current


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchParts:
    """What others need of them."""

    cgroups: CgroupFiles
    oom_kills: OomKills
    links: Links
    naming: Naming
    shm: SharedMemory
    specs: SpecSource
    mounts: MountSources
    added_mounts: AddedMounts
    holdings: Holdings
    launcher: TaskLauncher


def build_launch(
    sources: ContainerSources, *, journal: Journal, disk: trio.CapacityLimiter
) -> LaunchParts:
    """Make them."""
    # What it looks at, no reload changes: it is where running containers' cgroups lie.
    defaults = sources.current.defaults()
    cgroups = CgroupFiles(facts=sources.facts, defaults=defaults)
    oom_kills = OomKills(cgroups, disk=disk)
    hosts = HostsFiles(directory=sources.directory, disk=disk)
    links = Links(sources.table, hosts=hosts)
    resolv_confs = ResolvConfs(partial(_dns, sources.current))
    naming = Naming(
        dns=sources.dns,
        hosts=hosts,
        resolv_confs=resolv_confs,
        directory=sources.directory,
        disk=disk,
    )
    shm = SharedMemory(sources.settings.exec_root / "shm")

    def own_shm(container_id: str) -> str:
        return str(shm.path(container_id)) if shm.is_held(container_id) else ""

    specs = SpecSource(
        facts=sources.facts,
        defaults=sources.current.defaults,
        directory=sources.directory,
        resolv_confs=resolv_confs,
        host_gateways=partial(_host_gateways, sources.current, sources.networks),
        links=links,
        apparmor=sources.apparmor,
        cdi=sources.cdi,
        realtime=RealtimeShare(
            cgroup=sources.facts.cgroup, wanted=partial(_realtime, sources.current)
        ),
        disk=disk,
    )
    added_mounts = AddedMounts()
    mounts = MountSources(
        volumes=sources.volumes,
        images=sources.images,
        added=added_mounts,
        directory=sources.settings.exec_root / "mounts",
        disk=disk,
    )
    burials = Burials(Shims(sources.containerd.address, sources.containerd.namespace), disk=disk)
    holdings = Holdings(
        containerd=sources.containerd,
        sandboxes=sources.sandboxes,
        naming=naming,
        sources=mounts,
        shm=shm,
        table=sources.table,
        oom_kills=oom_kills,
        burials=burials,
        disk=disk,
    )
    launcher = TaskLauncher(
        containerd=sources.containerd,
        journal=journal,
        networks=sources.networks,
        sandboxes=sources.sandboxes,
        naming=naming,
        joiner=Joiner(sources.table, own_shm),
        links=links,
        shm=shm,
        maker=TaskMaker(
            containerd=sources.containerd,
            root_filesystems=sources.images,
            specs=specs,
            sources=mounts,
            runtimes=Runtimes(
                lambda: sources.current.settings().containers.runtimes,
                state_directory=sources.settings.exec_root / "runc",
                scripts=sources.settings.exec_root / "runtimes",
                systemd_cgroup=defaults.cgroup_driver == "systemd",
            ),
            burials=burials,
            holdings=holdings,
            engine_id=sources.engine_id,
        ),
        holdings=holdings,
        boot_id=sources.facts.boot_id,
        oom_kills=oom_kills,
        burials=burials,
        disk=disk,
    )
    return LaunchParts(
        cgroups=cgroups,
        oom_kills=oom_kills,
        links=links,
        naming=naming,
        shm=shm,
        specs=specs,
        mounts=mounts,
        added_mounts=added_mounts,
        holdings=holdings,
        launcher=launcher,
    )


def _dns(current: Current) -> Wishes:
    wanted = current.settings().containers
    return Wishes(servers=wanted.dns, searches=wanted.dns_search, options=wanted.dns_options)


def _realtime(current: Current) -> Realtime:
    wanted = current.settings().containers
    return Realtime(period_us=wanted.cpu_rt_period_us, runtime_us=wanted.cpu_rt_runtime_us)


def _host_gateways(current: Current, networks: Networks) -> tuple[str, ...]:
    """What host-gateway means in --add-host: the default bridge's address if nobody says."""
    return current.settings().network.host_gateways or tuple(networks.bridge_addresses)
