"""What launches containers' runs, and what each run holds meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from services.containerd import Shims
from services.containers.added_mounts import AddedMounts
from services.containers.cgroup_files import CgroupFiles
from services.containers.joining import Joiner
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
from supervisor.configuration.in_force import Current

from .sources import ContainerSources


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


def build_launch(sources: ContainerSources) -> LaunchParts:
    """Make them."""
    ground, disk = sources.ground, sources.disk
    settings = ground.current.settings()
    # What it looks at, no reload changes: it is where running containers' cgroups lie.
    defaults = ground.current.defaults()
    cgroups = CgroupFiles(facts=ground.facts, defaults=defaults)
    oom_kills = OomKills(cgroups, disk=disk)
    hosts = HostsFiles(directory=sources.directory, disk=disk)
    links = Links(ground.table, hosts=hosts)
    resolv_confs = ResolvConfs(partial(_dns, ground.current))
    naming = Naming(
        dns=ground.dns,
        hosts=hosts,
        resolv_confs=resolv_confs,
        directory=sources.directory,
        disk=disk,
    )
    shm = SharedMemory(settings.exec_root / "shm")

    def own_shm(container_id: str) -> str:
        return str(shm.path(container_id)) if shm.is_held(container_id) else ""

    specs = SpecSource(
        facts=ground.facts,
        defaults=ground.current.defaults,
        directory=sources.directory,
        resolv_confs=resolv_confs,
        host_gateways=partial(_host_gateways, ground.current, ground.net.networks),
        links=links,
        apparmor=ground.apparmor,
        cdi=ground.cdi,
        realtime=RealtimeShare(
            cgroup=ground.facts.cgroup, wanted=partial(_realtime, ground.current)
        ),
        disk=disk,
    )
    added_mounts = AddedMounts()
    mounts = MountSources(
        volumes=ground.volumes,
        images=ground.images,
        added=added_mounts,
        directory=settings.exec_root / "mounts",
        disk=disk,
    )
    burials = Burials(Shims(ground.containerd.address, ground.containerd.namespace), disk=disk)
    holdings = Holdings(
        containerd=ground.containerd,
        sandboxes=ground.net.sandboxes,
        naming=naming,
        sources=mounts,
        shm=shm,
        table=ground.table,
        oom_kills=oom_kills,
        burials=burials,
        disk=disk,
    )
    launcher = TaskLauncher(
        containerd=ground.containerd,
        journal=sources.journal,
        networks=ground.net.networks,
        sandboxes=ground.net.sandboxes,
        naming=naming,
        joiner=Joiner(ground.table, own_shm),
        links=links,
        shm=shm,
        maker=TaskMaker(
            containerd=ground.containerd,
            root_filesystems=ground.images,
            specs=specs,
            sources=mounts,
            runtimes=Runtimes(
                lambda: ground.current.settings().containers.runtimes,
                state_directory=settings.exec_root / "runc",
                scripts=settings.exec_root / "runtimes",
                systemd_cgroup=defaults.cgroup_driver == "systemd",
            ),
            burials=burials,
            holdings=holdings,
            engine_id=ground.engine_id,
        ),
        holdings=holdings,
        boot_id=ground.facts.boot_id,
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
