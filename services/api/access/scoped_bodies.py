"""Which bodies a scoped socket lets through, as the handlers are to see them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from services.api.access.scoped_host_config import check_create, check_host_config, with_labels
from services.api.access.scopes import Policy
from services.api.versions.create_body import CreateBody
from services.api.wire.json_bodies import decode
from services.containers.config import HostConfig
from services.errors import Forbidden


class _ExecBody(msgspec.Struct, rename="pascal"):
    privileged: bool = False


class _VolumeBody(msgspec.Struct, rename="pascal"):
    driver: str = ""
    driver_opts: dict[str, str] | None = None


def _create(data: bytes, policy: Policy) -> bytes:
    body = decode(data, CreateBody)
    check_create(body, policy)
    return msgspec.json.encode(with_labels(body, policy))


def _update(data: bytes, policy: Policy) -> bytes:
    host = decode(data, HostConfig)
    check_host_config(host, policy)
    return msgspec.json.encode(host)


def _exec(data: bytes, policy: Policy) -> bytes:
    if decode(data, _ExecBody).privileged and "privileged" not in policy.abilities:
        raise Forbidden("Privileged cannot be used on this socket: privileged is not allowed")
    return _canonical(data)


def _volume(data: bytes, policy: Policy) -> bytes:
    body = decode(data, _VolumeBody)
    is_plain = body.driver in ("", "local") and not body.driver_opts
    if not is_plain and "binds" not in policy.abilities:
        raise Forbidden("volume drivers cannot be used on this socket: binds is not allowed")
    return _canonical(data)


def _network(data: bytes, policy: Policy) -> bytes:
    if "networks" not in policy.abilities:
        raise Forbidden("networks cannot be changed on this socket: networks is not allowed")
    return data


def _canonical(data: bytes) -> bytes:
    """The same, with each name once: two decoders could differ about a second one."""
    return msgspec.json.encode(decode(data, dict))


BODIES: Final[Mapping[str, Callable[[bytes, Policy], bytes]]] = {
    "ContainerCreate": _create,
    "ContainerUpdate": _update,
    "ContainerExec": _exec,
    "VolumeCreate": _volume,
    "NetworkCreate": _network,
    "NetworkConnect": _network,
    "NetworkDisconnect": _network,
}
"""By operation: what the policy makes of a body. They raise Forbidden, or that it is malformed."""
