"""What a create request of an older API says of networks and ports, as it would be said today."""

from __future__ import annotations

import json
from typing import Final, NoReturn

import msgspec

from services.api.versions.create_draft import Draft
from services.containers.config import EndpointSettings, PortBinding
from services.errors import InvalidParameter

ENDPOINT_SYSCTLS: Final = "com.docker.network.endpoint.sysctls"

_NO_PLACE: Final = ("host", "none")


def one_network(draft: Draft) -> Draft:
    """Raises InvalidParameter for several."""
    if len(draft.endpoints) > 1:
        raise InvalidParameter(
            "Container cannot be created with multiple network endpoints: "
            + ", ".join(draft.endpoints)
        )
    return draft


def settings_for_each(draft: Draft) -> Draft:
    """Raises InvalidParameter for a network without settings, later those of none."""
    for name, settings in draft.endpoints.items():
        if settings is None:
            raise InvalidParameter(f"no EndpointSettings for {name}")
    return draft


def no_gateway_priority(draft: Draft) -> Draft:
    """The priority was not known."""
    return draft.with_endpoints(
        {
            name: settings and msgspec.structs.replace(settings, gw_priority=0)
            for name, settings in draft.endpoints.items()
        }
    )


def container_wide_mac(draft: Draft) -> Draft:
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


def deprecated_mac(draft: Draft) -> Draft:
    """The container's address is that of its main network, and is warned of."""
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


def migrated_sysctls(draft: Draft) -> Draft:
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


def no_interface_sysctls(draft: Draft) -> Draft:
    """Raises InvalidParameter: they are asked for by a network."""
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


def any_host_port(draft: Draft) -> Draft:
    """An empty list of bindings stood for any address and port."""
    empty = _empty_ports(draft)
    if not empty:
        return draft
    bindings = draft.body.host_config.port_bindings or {}
    return draft.with_host(port_bindings={p: b or [PortBinding()] for p, b in bindings.items()})


def any_host_port_with_warning(draft: Draft) -> Draft:
    """The same, and its end is announced."""
    empty = ", ".join(_empty_ports(draft))
    if not empty:
        return draft
    return any_host_port(draft).warned(
        f"Following container port(s) have an empty list of port-bindings: {empty}. Starting with "
        "API 1.53, such bindings will be discarded."
    )


def no_host_port(draft: Draft) -> Draft:
    """An empty list of bindings publishes nothing."""
    if not _empty_ports(draft):
        return draft
    bindings = draft.body.host_config.port_bindings or {}
    return draft.with_host(port_bindings={p: b for p, b in bindings.items() if b})
