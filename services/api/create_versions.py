"""What a create request of an older API means today: one row for each thing that changed.

A member that its version did not know is passed over, a default that was another one is put in,
what was valid then is made valid, and what is not any more is refused in dockerd's words.

Source: moby, daemon/server/router/container (postContainersCreate) and api/docs/CHANGELOG.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, NoReturn

import msgspec

from services.api.types.containers import CreateBody
from services.api.version import ApiVersion
from services.containers.config import (
    EndpointSettings,
    HealthConfig,
    Mount,
    NetworkingConfig,
    PortBinding,
)
from services.errors import InvalidParameter

ENDPOINT_SYSCTLS: Final = "com.docker.network.endpoint.sysctls"
_NO_PLACE: Final = ("host", "none")


class Draft(NamedTuple):
    """A request on its way through the rows."""

    body: CreateBody
    mode: str  # the network that the container's mode stands for: "bridge", "host", ...
    cgroup_v1: bool
    warnings: tuple[str, ...] = ()
    read_only_below: bool = True
    """Whether a read-only bind is so with the mounts below it, if it does not say."""

    def with_host(self, **fields: Any) -> Draft:
        """HostConfig with these fields."""
        host = msgspec.structs.replace(self.body.host_config, **fields)
        return self._replace(body=msgspec.structs.replace(self.body, host_config=host))

    def with_mounts(self, change: Callable[[Mount], Mount]) -> Draft:
        """Each --mount changed."""
        mounts = self.mounts
        return self.with_host(mounts=[change(mount) for mount in mounts]) if mounts else self

    def with_endpoints(self, endpoints: Mapping[str, EndpointSettings | None]) -> Draft:
        """Other settings for the networks."""
        networking = NetworkingConfig(endpoints_config=dict(endpoints))
        return self._replace(body=msgspec.structs.replace(self.body, networking_config=networking))

    def warned(self, text: str) -> Draft:
        """With one more warning."""
        return self._replace(warnings=(*self.warnings, text))

    @property
    def mounts(self) -> list[Mount]:
        """Those of --mount."""
        mounts = self.body.host_config.mounts
        return [] if mounts is msgspec.UNSET else mounts or []

    @property
    def endpoints(self) -> dict[str, EndpointSettings | None]:
        """The networks' settings, by name."""
        return self.body.networking_config.endpoints_config


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One change of the API; in force from `since` to the version before `below`."""

    what: str
    change: Callable[[Draft], Draft]
    since: ApiVersion | None = None
    below: ApiVersion | None = None

    def is_for(self, version: ApiVersion) -> bool:
        """Whether a client of this version is concerned."""
        return (self.since is None or version >= self.since) and (
            self.below is None or version < self.below
        )


def adapted(draft: Draft, version: ApiVersion) -> Draft:
    """The request as the present version would say it.

    Raises:
        InvalidParameter: this version does not have what the request asks for.
    """
    for row in ROWS:
        if row.is_for(version):
            draft = row.change(draft)
    return draft


def _v(minor: int) -> ApiVersion:
    return ApiVersion(1, minor)


def _no_auto_remove(draft: Draft) -> Draft:
    return draft.with_host(auto_remove=False)


def _recursive_binds(draft: Draft) -> Draft:
    return draft.with_mounts(lambda mount: _with_bind_options(mount, non_recursive=False))


def _no_kernel_memory_tcp(draft: Draft) -> Draft:
    return draft.with_host(kernel_memory_tcp=0)


def _shareable_ipc(draft: Draft) -> Draft:
    return draft if draft.body.host_config.ipc_mode else draft.with_host(ipc_mode="shareable")


def _host_cgroupns(draft: Draft) -> Draft:
    is_open = draft.cgroup_v1 and not draft.body.host_config.cgroupns_mode
    return draft.with_host(cgroupns_mode="host") if is_open else draft


def _no_create_mountpoint(draft: Draft) -> Draft:
    return draft.with_mounts(lambda mount: _with_bind_options(mount, create_mountpoint=False))


def _foreign_options_dropped(draft: Draft) -> Draft:
    def change(mount: Mount) -> Mount:
        fields: dict[str, None] = {}
        if mount.type != "volume":
            fields["volume_options"] = None
        if mount.type != "tmpfs":
            fields["tmpfs_options"] = None
        return msgspec.structs.replace(mount, **fields)

    return draft.with_mounts(change)


def _no_console_size(draft: Draft) -> Draft:
    return draft.with_host(console_size=(0, 0))


def _foreign_options_refused(draft: Draft) -> Draft:
    for mount in draft.mounts:
        for name, options, type_ in (
            ("VolumeOptions", mount.volume_options, "volume"),
            ("BindOptions", mount.bind_options, "bind"),
            ("TmpfsOptions", mount.tmpfs_options, "tmpfs"),
        ):
            if options is not None and mount.type != type_:
                shown = json.dumps(mount.type)
                raise InvalidParameter(f"{name} must not be specified on mount type {shown}")
    return draft


def _no_kernel_memory(draft: Draft) -> Draft:
    return draft.with_host(kernel_memory=0)


def _no_annotations(draft: Draft) -> Draft:
    return draft.with_host(annotations=msgspec.UNSET)


def _no_start_interval(draft: Draft) -> Draft:
    health = draft.body.healthcheck
    if not isinstance(health, HealthConfig):
        return draft
    health = msgspec.structs.replace(health, start_interval=0)
    return draft._replace(body=msgspec.structs.replace(draft.body, healthcheck=health))


def _read_only_without_below(draft: Draft) -> Draft:
    for mount in draft.mounts:
        options = mount.bind_options
        if mount.type == "bind" and options and options.read_only_force_recursive:
            raise InvalidParameter("BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer")
    return draft._replace(read_only_below=False)


def _one_network(draft: Draft) -> Draft:
    if len(draft.endpoints) > 1:
        raise InvalidParameter(
            "Container cannot be created with multiple network endpoints: "
            + ", ".join(draft.endpoints)
        )
    return draft


def _no_volume_subpath(draft: Draft) -> Draft:
    for mount in draft.mounts:
        if mount.volume_options and mount.volume_options.subpath:
            raise InvalidParameter("VolumeOptions.Subpath needs API v1.45 or newer")
    return draft


def _no_gateway_priority(draft: Draft) -> Draft:
    return draft.with_endpoints(
        {
            name: settings and msgspec.structs.replace(settings, gw_priority=0)
            for name, settings in draft.endpoints.items()
        }
    )


def _no_image_mounts(draft: Draft) -> Draft:
    if any(mount.type == "image" for mount in draft.mounts):
        raise InvalidParameter('Mount type "Image" needs API v1.48 or newer')
    return draft


def _volume_driver_warning(draft: Draft) -> Draft:
    """It was the CLI's before 1.48."""
    if not draft.body.host_config.volume_driver:
        return draft
    for mount in draft.mounts:
        driver = mount.volume_options.driver_config if mount.volume_options else None
        if mount.type == "volume" and not (driver and driver.name):
            return draft.warned(
                "WARNING: the container-wide volume-driver configuration is ignored for volumes "
                "specified via 'mount'. Use '--mount type=volume,volume-driver=...' instead"
            )
    return draft


def _container_wide_mac(draft: Draft) -> Draft:
    """The container's address is its one network's; a network's own did not exist."""
    address = draft.body.mac_address
    if not address:
        return draft.with_endpoints(
            {
                name: settings and msgspec.structs.replace(settings, mac_address="")
                for name, settings in draft.endpoints.items()
            }
        )
    if not _has_own_network(draft.mode):
        raise InvalidParameter("conflicting options: mac-address and the network mode")
    name = next(iter(draft.endpoints), draft.mode)
    return _with_mac(draft, name, address)


def _deprecated_mac(draft: Draft) -> Draft:
    address = draft.body.mac_address
    if not address:
        return draft
    if _has_own_network(draft.mode):
        if draft.endpoints and draft.mode not in draft.endpoints:
            raise InvalidParameter(
                "unable to migrate container-wide MAC address to a specific network: "
                "HostConfig.NetworkMode must match the identity of a network in "
                "NetworkSettings.Networks"
            )
        present = draft.endpoints.get(draft.mode)
        if present is not None and present.mac_address not in ("", address):
            raise InvalidParameter(
                "the container-wide MAC address must match the endpoint-specific MAC address for "
                "the main network, or be left empty"
            )
        draft = _with_mac(draft, draft.mode, address)
    return draft.warned(
        "The container-wide MacAddress field is now deprecated. It should be specified in "
        "EndpointsConfig instead."
    )


def _with_mac(draft: Draft, name: str, address: str) -> Draft:
    settings = draft.endpoints.get(name) or EndpointSettings()
    changed = msgspec.structs.replace(settings, mac_address=address)
    return draft.with_endpoints({**draft.endpoints, name: changed})


def _has_own_network(mode: str) -> bool:
    return mode not in _NO_PLACE and not mode.startswith("container:")


def _interface_sysctls(draft: Draft) -> list[str]:
    """Those that name an interface: net.*.*.eth0.*; they come after the container's namespace."""
    sysctls = draft.body.host_config.sysctls
    names = () if sysctls is msgspec.UNSET or not _has_own_network(draft.mode) else sysctls or ()
    parts = ((name, name.split(".", 4)) for name in names)
    return [
        name
        for name, part in parts
        if len(part) == 5 and part[0] == "net" and part[3].startswith("eth")
    ]


def _migrated_sysctls(draft: Draft) -> Draft:
    """Those of eth0 go to the network that it belongs to; of other links nobody knows which."""
    names = _interface_sysctls(draft)
    if not names:
        return draft
    if others := [name for name in names if name.split(".", 4)[3] != "eth0"]:
        return _refuse_sysctl(others[0])
    sysctls = draft.body.host_config.sysctls
    assert isinstance(sysctls, dict)
    moved = [f"{name.replace('.eth0.', '.IFNAME.', 1)}={sysctls[name]}" for name in names]
    name = next((one for one in (draft.mode, "default") if one in draft.endpoints), draft.mode)
    if draft.endpoints and name not in draft.endpoints:
        name = next(iter(draft.endpoints))
    settings = draft.endpoints.get(name) or EndpointSettings()
    options = dict(settings.driver_opts or {})
    options[ENDPOINT_SYSCTLS] = ",".join(filter(None, [options.get(ENDPOINT_SYSCTLS), *moved]))
    settings = msgspec.structs.replace(settings, driver_opts=options)
    rest = {key: value for key, value in sysctls.items() if key not in names}
    shown = f"{json.dumps(ENDPOINT_SYSCTLS)}:{json.dumps(options[ENDPOINT_SYSCTLS])}"
    draft = draft.with_host(sysctls=rest).with_endpoints({**draft.endpoints, name: settings})
    return draft.warned(f"Migrated sysctls of eth0 to DriverOpts{{{shown}}}.")


def _no_interface_sysctls(draft: Draft) -> Draft:
    if names := _interface_sysctls(draft):
        return _refuse_sysctl(names[0])
    return draft


def _refuse_sysctl(name: str) -> NoReturn:
    raise InvalidParameter(
        f"interface specific sysctl setting {json.dumps(name)} must be supplied using driver "
        f"option '{ENDPOINT_SYSCTLS}'"
    )


def _empty_ports(draft: Draft) -> list[str]:
    bindings = draft.body.host_config.port_bindings or {}
    return [port for port, bound in bindings.items() if not bound]


def _any_host_port(draft: Draft) -> Draft:
    """An empty list of bindings stood for any address and port."""
    empty = _empty_ports(draft)
    if not empty:
        return draft
    bindings = draft.body.host_config.port_bindings or {}
    return draft.with_host(port_bindings={p: b or [PortBinding()] for p, b in bindings.items()})


def _any_host_port_with_warning(draft: Draft) -> Draft:
    empty = ", ".join(_empty_ports(draft))
    if not empty:
        return draft
    return _any_host_port(draft).warned(
        f"Following container port(s) have an empty list of port-bindings: {empty}. Starting with "
        "API 1.53, such bindings will be discarded."
    )


def _no_host_port(draft: Draft) -> Draft:
    if not _empty_ports(draft):
        return draft
    bindings = draft.body.host_config.port_bindings or {}
    return draft.with_host(port_bindings={p: b for p, b in bindings.items() if b})


def _unlimited_pids(draft: Draft) -> Draft:
    limit = draft.body.host_config.pids_limit
    return draft.with_host(pids_limit=None) if limit is not None and limit <= 0 else draft


def _with_bind_options(mount: Mount, **fields: bool) -> Mount:
    if mount.bind_options is None:
        return mount
    options = msgspec.structs.replace(mount.bind_options, **fields)
    return msgspec.structs.replace(mount, bind_options=options)


ROWS: Final = (
    Row(what="AutoRemove is the client's affair", below=_v(25), change=_no_auto_remove),
    Row(what="no BindOptions.NonRecursive", below=_v(40), change=_recursive_binds),
    Row(what="no KernelMemoryTCP", below=_v(40), change=_no_kernel_memory_tcp),
    Row(what="IpcMode is shareable by default", below=_v(40), change=_shareable_ipc),
    Row(what="CgroupnsMode is host on cgroup v1", below=_v(41), change=_host_cgroupns),
    Row(what="no BindOptions.CreateMountpoint", below=_v(42), change=_no_create_mountpoint),
    Row(what="another mount type's options", below=_v(42), change=_foreign_options_dropped),
    Row(what="no ConsoleSize on Linux", below=_v(42), change=_no_console_size),
    Row(what="another mount type's options", since=_v(42), change=_foreign_options_refused),
    Row(what="KernelMemory was removed", since=_v(42), change=_no_kernel_memory),
    Row(what="no Annotations", below=_v(43), change=_no_annotations),
    Row(what="no Healthcheck.StartInterval", below=_v(44), change=_no_start_interval),
    Row(what="ReadOnly was not recursive", below=_v(44), change=_read_only_without_below),
    Row(what="one network only", below=_v(44), change=_one_network),
    Row(what="MacAddress is the container's", below=_v(44), change=_container_wide_mac),
    Row(what="MacAddress is a network's", since=_v(44), below=_v(52), change=_deprecated_mac),
    Row(what="no VolumeOptions.Subpath", below=_v(45), change=_no_volume_subpath),
    Row(what="no GwPriority", below=_v(48), change=_no_gateway_priority),
    Row(what="no mounts of type image", below=_v(48), change=_no_image_mounts),
    Row(what="sysctls of eth0 are migrated", below=_v(48), change=_migrated_sysctls),
    Row(what="sysctls of eth0 are a driver's", since=_v(48), change=_no_interface_sysctls),
    Row(what="VolumeDriver is warned of", since=_v(48), change=_volume_driver_warning),
    Row(what="KernelMemoryTCP was removed", since=_v(52), change=_no_kernel_memory_tcp),
    Row(what="empty PortBindings are any", below=_v(52), change=_any_host_port),
    Row(
        what="empty PortBindings are any, and warned of",
        since=_v(52),
        below=_v(53),
        change=_any_host_port_with_warning,
    ),
    Row(what="empty PortBindings are none", since=_v(53), change=_no_host_port),
    Row(what="PidsLimit of 0 and less is none", change=_unlimited_pids),
)
