"""What the engine says about itself: /info and /version are made of it."""

from __future__ import annotations

import platform

from services.api.listening.hosts import TcpHost
from services.api.types.engine_info import EngineInfo, KnownRegistries, OpenHost
from services.registry import RegistrySettings
from services.registry.proxies import masked
from supervisor.engine.ground import SNAPSHOTTER
from supervisor.version import VERSION, build_id

from .route_sources import RouteSources


def engine_info(sources: RouteSources) -> EngineInfo:
    """What the engine says about itself now."""
    ground = sources.ground
    settings, defaults = ground.current.settings(), ground.current.defaults()
    runtimes = {"runc": "runc", "io.containerd.runc.v2": ""}
    runtimes |= {runtime.name: runtime.path for runtime in settings.containers.runtimes}
    tls = settings.api.tls
    return EngineInfo(
        engine_id=ground.engine_id,
        version=VERSION,
        commit=build_id(),
        host=ground.facts,
        data_root=str(settings.data_root),
        language=f"Python {platform.python_version()}",
        debug=settings.log.debug,
        experimental=settings.experimental,
        live_restore=settings.live_restore,
        labels=settings.labels,
        log_driver=settings.containers.log_driver,
        snapshotter=SNAPSHOTTER,
        cgroup_driver=defaults.cgroup_driver,
        runtimes=runtimes,
        default_runtime=defaults.default_runtime,
        init_binary=defaults.init_path.rpartition("/")[2],
        no_new_privileges=defaults.no_new_privileges,
        seccomp_profile=settings.containers.seccomp_profile,
        generic_resources=settings.cluster.generic_resources,
        cdi_directories=ground.cdi.directories,
        containerd_address=str(ground.containerd.address),
        containerd_namespace=ground.containerd.namespace,
        registries=_registries(settings.registry),
        http_proxy=masked(settings.registry.proxies.http_proxy),
        https_proxy=masked(settings.registry.proxies.https_proxy),
        no_proxy=settings.registry.proxies.no_proxy,
        firewall="nftables" if settings.network.firewall else "",
        open_hosts=tuple(
            OpenHost(address=f"{host.host}:{host.port}", is_encrypted=tls is not None)
            for host in settings.api.hosts
            if isinstance(host, TcpHost) and not (tls and tls.verify)
        ),
    )


def _registries(settings: RegistrySettings) -> KnownRegistries:
    return KnownRegistries(
        insecure_networks=tuple(map(str, settings.insecure_networks)),
        insecure_hosts=tuple(sorted(settings.insecure_hosts)),
        mirrors=settings.mirrors,
    )
