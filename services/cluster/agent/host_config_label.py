"""The label by which a service asks for what swarm's spec has no words for.

    io.wharfinger.host-config    {"Privileged": true, "Devices": [...]}

Its value is JSON, with fields of the Engine API's HostConfig. It is a label of the container (of
the spec's ContainerSpec.Labels). A field given there replaces what the spec makes of it. What the
cluster itself decides cannot be given: restarts are the orchestrator's, ports and networks the
service's, mounts the spec's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from services import typed_json
from services.containers.config import HostConfig
from services.containers.labels import HOST_CONFIG
from services.errors import InvalidParameter

_OURS: Final = frozenset(
    (
        "RestartPolicy", "AutoRemove", "NetworkMode", "PortBindings", "PublishAllPorts", "Links",
        "Mounts", "ContainerIDFile", "LogConfig", "ConsoleSize",
    )
)  # fmt: skip
_KNOWN: Final = frozenset(field.encode_name for field in msgspec.structs.fields(HostConfig))


def with_label(host: HostConfig, labels: Mapping[str, str]) -> HostConfig:
    """`host` with what the label says.

    Raises:
        InvalidParameter: it is not that, names what there is not, or what is not its to say.
    """
    text = labels.get(HOST_CONFIG)
    if text is None:
        return host
    try:
        wanted = typed_json.decode(text, dict[str, Any])
    except msgspec.MsgspecError as error:
        raise InvalidParameter(f"invalid label {HOST_CONFIG}: {error}") from error
    for name in wanted:
        if name not in _KNOWN:
            raise InvalidParameter(f"invalid label {HOST_CONFIG}: there is no {name}")
        if name in _OURS:
            raise InvalidParameter(f"invalid label {HOST_CONFIG}: {name} is the service's to say")
    try:
        return typed_json.convert({**msgspec.to_builtins(host), **wanted}, HostConfig)
    except msgspec.ValidationError as error:
        raise InvalidParameter(f"invalid label {HOST_CONFIG}: {error}") from error
