"""What older clients find in answers about containers: one row for each thing that changed.

Source: moby, daemon/server/router/container (getContainersByName, getContainersJSON) and
api/docs/CHANGELOG.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from services.api.versions.version import ApiVersion, VersionRow
from services.containers import Container
from services.containers.config import EndpointSettings
from services.containers.model import SHORT_ID

Json = dict[str, Any]

_PREDEFINED: Final = ("bridge", "host", "none", "default")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRow(VersionRow):
    """A change to the newest answer."""

    change: Callable[[Json, Container], None]


def adapt_answer(
    rows: tuple[AnswerRow, ...], wire: Json, container: Container, version: ApiVersion
) -> Json:
    """`wire`, changed in place to what `version` has."""
    for row in rows:
        if row.is_for(version):
            row.change(wire, container)
    return wire


def _v(minor: int) -> ApiVersion:
    return ApiVersion(1, minor)


def _without(*path: str) -> Callable[[Json, Container], None]:
    """Leaves a member out."""

    def change(wire: Json, _: Container) -> None:
        for name in path[:-1]:
            wire = wire[name]
        wire.pop(path[-1], None)

    return change


def _without_empty(*path: str) -> Callable[[Json, Container], None]:
    """Leaves a member out that says nothing."""

    def change(wire: Json, _: Container) -> None:
        for name in path[:-1]:
            wire = wire[name]
        if not wire.get(path[-1]):
            wire.pop(path[-1], None)

    return change


def _kernel_memory(wire: Json, container: Container) -> None:
    if value := container.definition.host_config.kernel_memory:
        wire["HostConfig"]["KernelMemory"] = value


def _kernel_memory_tcp(wire: Json, container: Container) -> None:
    if value := container.definition.host_config.kernel_memory_tcp:
        wire["HostConfig"]["KernelMemoryTCP"] = value


def _short_id_among_aliases(wire: Json, container: Container) -> None:
    networks: dict[str, EndpointSettings] = wire["NetworkSettings"]["Networks"]
    for name, settings in networks.items():
        if name not in _PREDEFINED:
            own = (*(settings.aliases or ()), container.id[:SHORT_ID], wire["Config"]["Hostname"])
            aliases = list(dict.fromkeys(own))
            networks[name] = msgspec.structs.replace(settings, aliases=aliases)


def _container_wide_mac(wire: Json, container: Container) -> None:
    """The address that was asked for, not one that was made up."""
    main = container.definition.networks.get(container.definition.host_config.network_mode)
    if main is not None and main.mac_address:
        wire["Config"]["MacAddress"] = main.mac_address


def _graph_driver(wire: Json, container: Container) -> None:
    del wire["Storage"]
    wire["GraphDriver"] = {"Name": container.definition.snapshotter, "Data": None}


def _default_network(wire: Json, container: Container) -> None:
    """The default bridge's endpoint once more: scripts read `.NetworkSettings.IPAddress`."""
    bridge = container.status.networks.get("bridge") or EndpointSettings()
    wire["NetworkSettings"] |= {
        "Bridge": "",
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        "EndpointID": bridge.endpoint_id,
        "Gateway": bridge.gateway,
        "GlobalIPv6Address": bridge.global_ipv6_address,
        "GlobalIPv6PrefixLen": bridge.global_ipv6_prefix_len,
        "IPAddress": bridge.ip_address,
        "IPPrefixLen": bridge.ip_prefix_len,
        "IPv6Gateway": bridge.ipv6_gateway,
        "MacAddress": bridge.mac_address,
    }


INSPECT_ROWS: Final = (
    AnswerRow(what="KernelMemory, if it is set", below=_v(42), change=_kernel_memory),
    AnswerRow(what="KernelMemoryTCP, if it is set", below=_v(52), change=_kernel_memory_tcp),
    AnswerRow(what="the short id is an alias", below=_v(45), change=_short_id_among_aliases),
    AnswerRow(
        what="no ImageManifestDescriptor", below=_v(48), change=_without("ImageManifestDescriptor")
    ),
    AnswerRow(what="the default network's addresses", below=_v(52), change=_default_network),
    AnswerRow(what="Config.MacAddress", below=_v(52), change=_container_wide_mac),
    AnswerRow(what="GraphDriver, not Storage", below=_v(52), change=_graph_driver),
    AnswerRow(what="no empty OnBuild", since=_v(52), change=_without_empty("Config", "OnBuild")),
)

SUMMARY_ROWS: Final = (
    AnswerRow(what="no annotations", below=_v(46), change=_without("HostConfig", "Annotations")),
    AnswerRow(
        what="no ImageManifestDescriptor", below=_v(48), change=_without("ImageManifestDescriptor")
    ),
    AnswerRow(what="no Health", below=_v(52), change=_without("Health")),
)
