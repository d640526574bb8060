"""The cluster's values as dockerd answers them: by Go's rules, which are not those of the store.

What is zero is left out, but for fields that Go's types always show. The store leaves out what is
our default, which may be another thing than zero ("ingress", 0o444).

Source: moby, api/types/swarm (the tags of its structs).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache, lru_cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import inspect

from services.api.types.times import NEVER
from services.cluster.ca.issuing import TlsInfo, tls_info
from services.cluster.model import specs, swarm_spec, task_spec
from services.cluster.model.objects import ContainerStatus, Stored
from services.containers.config import Ulimit

ALWAYS: Final[Mapping[type, tuple[str, ...]]] = MappingProxyType(
    {
        specs.UpdateConfig: ("parallelism", "max_failure_ratio", "order"),
        task_spec.TaskSpec: ("force_update",),
        specs.ServiceSpec: ("labels",),
        specs.NodeSpec: ("labels",),
        specs.SecretSpec: ("labels",),
        specs.ConfigSpec: ("labels",),
        swarm_spec.SwarmSpec: ("labels",),
        task_spec.FileTarget: ("name", "uid", "gid", "mode"),
        task_spec.SecretReference: ("secret_id", "secret_name"),
        task_spec.ConfigReference: ("config_id", "config_name"),
        task_spec.Privileges: ("credential_spec", "selinux_context", "no_new_privileges"),
        swarm_spec.Raft: ("keep_old_snapshots", "election_tick", "heartbeat_tick"),
        swarm_spec.Orchestration: ("task_history_retention_limit",),
        swarm_spec.EncryptionConfig: ("auto_lock_managers",),
        Ulimit: ("name", "hard", "soft"),
        ContainerStatus: ("container_id", "pid", "exit_code"),
    }
)
"""Fields that are shown though they are zero."""

NEVER_SHOWN: Final[Mapping[type, tuple[str, ...]]] = MappingProxyType(
    {
        task_spec.ContainerSpec: ("registry_auth",),
        specs.SecretSpec: ("data",),
        swarm_spec.CaConfig: ("signing_ca_cert", "signing_ca_key"),
    }
)
"""Fields that leave in no answer."""

RENAMED: Final[Mapping[tuple[type, str], str]] = MappingProxyType(
    {(task_spec.ContainerSpec, "health_check"): "Healthcheck"}
)
"""Where Go's spelling is not the definition's; clients read either."""


class _Field(NamedTuple):
    attribute: str
    name: str
    is_shown: bool
    is_pointer: bool


def to_wire(value: Any) -> Any:
    """A value of the cluster's model as JSON's own types."""
    if isinstance(value, msgspec.Struct):
        return _struct(value)
    if isinstance(value, list | tuple):
        return [to_wire(one) for one in value]
    return value


def meta_to_wire(one: Stored) -> dict[str, Any]:
    """What every answer about an object begins with."""
    return {
        "ID": one.id,
        "Version": {"Index": one.version},
        "CreatedAt": one.created_at,
        "UpdatedAt": one.updated_at,
    }


@lru_cache(maxsize=4)  # of a pure function; there are two roots at most, and a list asks for each
def _tls_info(root: str) -> TlsInfo:
    return tls_info(root)


def tls_info_to_wire(root: str) -> dict[str, Any]:
    """Who signs the nodes' certificates (Engine API, schema TLSInfo)."""
    wire: dict[str, Any] = to_wire(_tls_info(root)) if root else {}
    return wire


def time_to_wire(at: datetime | None) -> datetime | str:
    """An instant; Go's zero time for none."""
    return NEVER if at is None else at


def _struct(value: msgspec.Struct) -> dict[str, Any]:
    wire = {}
    for field in _fields(type(value)):
        inner = getattr(value, field.attribute)
        if field.is_shown or (inner is not None if field.is_pointer else inner or _is_kept(inner)):
            wire[field.name] = to_wire(inner)
    return wire


def _is_kept(inner: object) -> bool:
    """Go's omitempty never leaves out a struct."""
    return isinstance(inner, msgspec.Struct)


@cache  # a pure function of types, and these are few
def _fields(kind: type[msgspec.Struct]) -> tuple[_Field, ...]:
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    shown, hidden = ALWAYS.get(kind, ()), NEVER_SHOWN.get(kind, ())
    return tuple(
        _Field(
            attribute=field.name,
            name=RENAMED.get((kind, field.name), field.encode_name),
            is_shown=field.name in shown,
            is_pointer=isinstance(field.type, inspect.UnionType),
        )
        for field in info.fields
        if field.name not in hidden
    )
