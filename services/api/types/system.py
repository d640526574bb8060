"""The engine about itself, on the wire. Source: Engine API, schemas SystemVersion, SystemInfo.

What differs below some version of the API is what dockerd answers there (its system router).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from services.api.components import Component
from services.api.types.engine_info import INDEX_SERVER, EngineInfo, KnownRegistries, LiveValues
from services.api.versions.version import CURRENT, MINIMUM, ApiVersion
from services.system import HostFacts, info_warnings, security_options

ATTACK_SURFACE: Final = (
    "Access to the remote API is equivalent to root access on the host. Refer to the "
    "documentation for more information: https://docs.docker.com/go/attack-surface/"
)

CONTAINERD_SINCE: Final = ApiVersion(1, 46)
NONDISTRIBUTABLE_BELOW: Final = ApiVersion(1, 47)
FIREWALL_SINCE: Final = ApiVersion(1, 49)
EXPECTED_COMMITS_BELOW: Final = ApiVersion(1, 49)
DEVICES_SINCE: Final = ApiVersion(1, 50)
BRIDGE_NF_BELOW: Final = ApiVersion(1, 50)
KERNEL_MEMORY_BELOW: Final = ApiVersion(1, 42)
KERNEL_MEMORY_TCP_BELOW: Final = ApiVersion(1, 52)


def version_to_wire(engine: EngineInfo, components: Sequence[Component]) -> dict[str, Any]:
    """The answer of GET /version."""
    host = engine.host
    about = {
        "ApiVersion": str(CURRENT),
        "MinAPIVersion": str(MINIMUM),
        "GitCommit": engine.commit,
        "GoVersion": engine.language,
        "Os": "linux",
        "Arch": host.oci_architecture,
        "KernelVersion": host.kernel_version,
        "BuildTime": engine.build_time,
    }
    details = {**about, "Experimental": "true" if engine.experimental else "false"}
    wire: dict[str, Any] = {
        "Platform": {"Name": f"Wharfinger {engine.version}"},
        "Version": engine.version,
        **about,
        "Components": [
            {"Name": "Engine", "Version": engine.version, "Details": details},
            *({"Name": c.name, "Version": c.version, "Details": _details(c)} for c in components),
        ],
    }
    if engine.experimental:
        wire["Experimental"] = True
    return wire


def info_to_wire(
    engine: EngineInfo,
    live: LiveValues,
    components: Sequence[Component],
    *,
    version: ApiVersion,
) -> dict[str, Any]:
    """The answer of GET /info."""
    wire: dict[str, Any] = {
        "ID": engine.engine_id,
        **_live_to_wire(live),
        **_storage_to_wire(engine),
        **_limits_to_wire(engine.host, version),
        **_host_to_wire(engine.host),
        **_settings_to_wire(engine),
        **_parts_to_wire(engine, components, version),
        **_devices_to_wire(live, version),
        "Warnings": [*info_warnings(engine.host), *_exposure_warnings(engine), *live.warnings],
    }
    if version < BRIDGE_NF_BELOW:
        wire |= {"BridgeNfIptables": False, "BridgeNfIp6tables": False}
    if version < NONDISTRIBUTABLE_BELOW:
        wire["RegistryConfig"] |= {
            "AllowNondistributableArtifactsCIDRs": None,
            "AllowNondistributableArtifactsHostnames": None,
        }
    return wire


def _live_to_wire(live: LiveValues) -> dict[str, Any]:
    running, paused, stopped = (
        live.containers_running,
        live.containers_paused,
        live.containers_stopped,
    )
    return {
        "Containers": running + paused + stopped,
        "ContainersRunning": running,
        "ContainersPaused": paused,
        "ContainersStopped": stopped,
        "Images": live.images,
        "NFd": live.open_files,
        "NGoroutines": live.tasks,
        "NEventsListener": live.event_listeners,
        "SystemTime": live.system_time,
    }


def _storage_to_wire(engine: EngineInfo) -> dict[str, Any]:
    return {
        "Driver": engine.snapshotter,
        "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]],
        "DockerRootDir": engine.data_root,
    }


def _limits_to_wire(host: HostFacts, version: ApiVersion) -> dict[str, Any]:
    cgroup = host.cgroup
    wire = {
        "MemoryLimit": cgroup.memory_limit,
        "SwapLimit": cgroup.swap_limit,
        "CpuCfsPeriod": cgroup.cpu_cfs,
        "CpuCfsQuota": cgroup.cpu_cfs,
        "CPUShares": cgroup.cpu_shares,
        "CPUSet": cgroup.cpuset,
        "PidsLimit": cgroup.pids_limit,
        "OomKillDisable": cgroup.oom_kill_disable,
        "IPv4Forwarding": host.ipv4_forwarding,
    }
    if cgroup.kernel_memory and version < KERNEL_MEMORY_BELOW:
        wire["KernelMemory"] = True
    if cgroup.kernel_memory_tcp and version < KERNEL_MEMORY_TCP_BELOW:
        wire["KernelMemoryTCP"] = True
    return wire


def _host_to_wire(host: HostFacts) -> dict[str, Any]:
    return {
        "KernelVersion": host.kernel_version,
        "OperatingSystem": host.operating_system,
        "OSVersion": host.os_version,
        "OSType": "linux",
        "Architecture": host.architecture,
        "NCPU": host.ncpu,
        "MemTotal": host.memory_total_bytes,
        "Name": host.hostname,
        "CgroupVersion": host.cgroup.version,
    }


def _settings_to_wire(engine: EngineInfo) -> dict[str, Any]:
    return {
        "Debug": engine.debug,
        "LoggingDriver": engine.log_driver,
        "CgroupDriver": engine.cgroup_driver,
        "Labels": list(engine.labels),
        "ExperimentalBuild": engine.experimental,
        "LiveRestoreEnabled": engine.live_restore,
        "HttpProxy": engine.http_proxy,
        "HttpsProxy": engine.https_proxy,
        "NoProxy": engine.no_proxy,
        "SecurityOptions": security_options(
            engine.host,
            seccomp_profile=engine.seccomp_profile,
            no_new_privileges=engine.no_new_privileges,
        ),
        "Isolation": "",
        "InitBinary": engine.init_binary,
        "DefaultRuntime": engine.default_runtime,
        "GenericResources": [],
        "CDISpecDirs": list(engine.cdi_directories),
    }


def _parts_to_wire(
    engine: EngineInfo, components: Sequence[Component], version: ApiVersion
) -> dict[str, Any]:
    """What the engine consists of and stands on."""
    wire: dict[str, Any] = {
        "ServerVersion": engine.version,
        "Plugins": {
            "Volume": ["local"],
            "Network": list(engine.network_drivers),
            "Authorization": [],
            "Log": list(engine.log_drivers),
        },
        "Runtimes": {name: {"path": path} for name, path in engine.runtimes.items()},
        "IndexServerAddress": INDEX_SERVER,
        "RegistryConfig": _registries_to_wire(engine.registries),
        "Swarm": {
            "NodeID": "",
            "NodeAddr": "",
            "LocalNodeState": "inactive",
            "ControlAvailable": False,
            "Error": "",
            "RemoteManagers": None,
        },
        **_commits_to_wire(components, version),
    }
    if version >= CONTAINERD_SINCE:
        wire["Containerd"] = {
            "Address": engine.containerd_address,
            "Namespaces": {
                "Containers": engine.containerd_namespace,
                "Plugins": engine.plugins_namespace,
            },
        }
    if version >= FIREWALL_SINCE and engine.firewall:
        wire["FirewallBackend"] = {"Driver": engine.firewall}
    return wire


def _registries_to_wire(registries: KnownRegistries) -> dict[str, Any]:
    hub = {
        "Name": "docker.io",
        "Mirrors": list(registries.mirrors),
        "Secure": True,
        "Official": True,
    }
    others = {
        host: {"Name": host, "Mirrors": [], "Secure": False, "Official": False}
        for host in registries.insecure_hosts
    }
    return {
        "InsecureRegistryCIDRs": list(registries.insecure_networks),
        "IndexConfigs": {"docker.io": hub, **others},
        "Mirrors": list(registries.mirrors),
    }


def _devices_to_wire(live: LiveValues, version: ApiVersion) -> dict[str, Any]:
    if version < DEVICES_SINCE:
        return {}
    return {"DiscoveredDevices": [{"Source": "cdi", "ID": name} for name in live.cdi_devices]}


def _commits_to_wire(components: Sequence[Component], version: ApiVersion) -> dict[str, Any]:
    """A part that told no commit goes by its version."""
    known = {component.name: component.commit or component.version for component in components}
    commits: dict[str, dict[str, str]] = {}
    for key, name in (
        ("ContainerdCommit", "containerd"),
        ("RuncCommit", "runc"),
        ("InitCommit", "docker-init"),
    ):
        commits[key] = {"ID": known.get(name, "")}
        if version < EXPECTED_COMMITS_BELOW:
            commits[key]["Expected"] = known.get(name, "")
    return commits


def _details(component: Component) -> dict[str, str]:
    return {"GitCommit": component.commit}


def _exposure_warnings(engine: EngineInfo) -> list[str]:
    warnings = []
    for host in engine.open_hosts:
        scheme, lack = (
            ("https", "TLS client verification")
            if host.is_encrypted
            else (
                "http",
                "encryption",
            )
        )
        warnings.append(
            f"WARNING: API is accessible on {scheme}://{host.address} without {lack}.\n"
            f"         {ATTACK_SURFACE}"
        )
    return warnings
