"""What the engine knows of itself: what stays as it is, and what is so at the moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from services.system import HostFacts

RUNC_ALONE: Final[Mapping[str, str]] = MappingProxyType({"runc": "runc"})

INDEX_SERVER: Final = "https://index.docker.io/v1/"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenHost:
    """A TCP address on which the API is served less safely than it could be."""

    address: str  # host:port
    is_encrypted: bool  # True: but anyone may speak to it


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRegistries:
    """What the engine's settings say of registries."""

    insecure_networks: tuple[str, ...] = ()
    insecure_hosts: tuple[str, ...] = ()
    mirrors: tuple[str, ...] = ()  # of docker.io


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """What the engine is and how it was started; the parts that a reload changes among them."""

    engine_id: str
    version: str
    commit: str
    host: HostFacts
    data_root: str
    build_time: str = ""
    language: str = ""  # e.g. "Python 3.11.2": where dockerd has its Go version
    debug: bool = False
    experimental: bool = False
    live_restore: bool = False
    labels: tuple[str, ...] = ()
    log_driver: str = "json-file"
    log_drivers: tuple[str, ...] = (
        "fluentd",
        "gelf",
        "journald",
        "json-file",
        "local",
        "none",
        "syslog",
    )
    network_drivers: tuple[str, ...] = ("bridge", "host", "ipvlan", "macvlan", "null", "overlay")
    snapshotter: str = "overlayfs"
    cgroup_driver: str = "cgroupfs"
    runtimes: Mapping[str, str] = field(default_factory=lambda: RUNC_ALONE)  # name to path
    default_runtime: str = "runc"
    init_binary: str = "docker-init"
    seccomp_profile: str = "builtin"
    no_new_privileges: bool = False
    cdi_directories: tuple[str, ...] = ()
    containerd_address: str = ""
    containerd_namespace: str = "moby"
    plugins_namespace: str = "plugins.moby"
    firewall: str = ""  # "nftables"; "" without one
    http_proxy: str = ""  # without credentials
    https_proxy: str = ""
    no_proxy: str = ""
    open_hosts: tuple[OpenHost, ...] = ()
    generic_resources: tuple[str, ...] = ()  # what it announces to a swarm, kind=value
    registries: KnownRegistries = field(default_factory=KnownRegistries)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveValues:
    """What changes from one moment to the next."""

    containers_running: int
    containers_paused: int
    containers_stopped: int
    images: int
    event_listeners: int
    open_files: int
    tasks: int
    system_time: str  # RFC 3339
    warnings: tuple[str, ...] = ()
    cdi_devices: tuple[str, ...] = ()  # full names
