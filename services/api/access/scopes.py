"""What a scoped socket permits: a policy out of the configuration, checked. Pure.

Nothing is permitted that a policy does not name. Operations by which a caller could become root
whatever else is forbidden cannot be named at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec

from services import typed_json
from services.api.access.operations import BY_ID, OPERATIONS, Bound, Kind

ABILITIES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "binds": "mounts of the host's folders, and volumes with drivers or options",
        "capabilities": "capabilities beyond the default ones",
        "devices": "devices of the host, and rules for them",
        "environment": "the values of variables in what an inspect shows",
        "host-namespaces": "namespaces of the host or of other containers, and cgroup parents",
        "links": "links to other containers, and their volumes",
        "log-drivers": "log drivers and options other than the engine's",
        "networks": "networks other than the default one and none",
        "ports": "ports of the host",
        "privileged": "everything that --privileged gives, also for an exec",
        "runtimes": "OCI runtimes other than the default one",
        "security": "security options, system controls, masked paths, OOM settings",
        "volumes": "named volumes",
    }
)
"""What `allow` may name, and what each lets into containers that are made through the socket."""

ROOT_EQUIVALENT: Final = frozenset(
    {
        "PluginPull", "PluginCreate", "PluginSet", "PluginEnable", "PluginUpgrade",
        "ServiceCreate", "ServiceUpdate", "SwarmInit", "SwarmJoin", "SwarmLeave", "SwarmUpdate",
        "SwarmUnlock", "NodeUpdate", "Session",
    }
)  # fmt: skip
ALWAYS: Final = frozenset({"SystemPing", "SystemPingHead", "SystemVersion"})
"""By which clients find out whom they speak to."""


_EVENT_ATTRIBUTES: Final = frozenset(
    {"name", "image", "container", "signal", "exitCode", "execID", "execDuration", "oldName",
     "comment", "imageID", "imageRef", "delay"}
)  # fmt: skip
"""What stands beside the labels in events, by which they are filtered."""


class ScopeError(ValueError):
    """A policy that says nothing, or something that there is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """`operations` are ids of the API's definition; `labels` what containers must have, all."""

    operations: frozenset[str]
    labels: Mapping[str, str] = field(default_factory=dict)
    abilities: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopedSocket:
    """One extra listener. `group` owns its file; empty: root's."""

    path: Path
    group: str
    policy: Policy


class _PolicyText(msgspec.Struct, forbid_unknown_fields=True, rename="kebab"):
    read_only: bool = False
    operations: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    allow: tuple[str, ...] = ()


class _SocketText(msgspec.Struct, forbid_unknown_fields=True):
    path: str
    policy: _PolicyText
    group: str = ""


def parse_scoped_socket(text: str) -> ScopedSocket:
    """One member of `scoped-sockets`, as JSON.

    Raises:
        ScopeError: one sentence, for whoever wrote it.
    """
    try:
        given = typed_json.decode(text.encode(), _SocketText)
    except msgspec.MsgspecError as error:
        raise ScopeError(f"scoped-sockets: {error}") from error
    path = given.path.removeprefix("unix://")
    if not path.startswith("/"):
        raise ScopeError(f"scoped-sockets: {given.path}: an absolute path is needed")
    try:
        policy = _policy(given.policy)
    except ScopeError as error:
        raise ScopeError(f"scoped-sockets: {path}: {error}") from error
    return ScopedSocket(path=Path(path), group=given.group, policy=policy)


def _policy(given: _PolicyText) -> Policy:
    for name in given.operations:
        if name not in BY_ID:
            raise ScopeError(f"there is no operation {name}")
        if name in ROOT_EQUIVALENT:
            raise ScopeError(f"{name} gives whoever may ask for it root, and cannot be permitted")
        if given.labels and BY_ID[name].bound is Bound.NEVER:
            raise ScopeError(f"{name} cannot be kept to containers with labels")
    for name in given.allow:
        if name not in ABILITIES:
            raise ScopeError(f"nothing called {name} can be allowed; use {', '.join(ABILITIES)}")
    if not given.operations and not given.read_only:
        raise ScopeError("the policy permits nothing: set read-only, or name operations")
    for key in given.labels:
        if not key:
            raise ScopeError("a label needs a name")
        if key in _EVENT_ATTRIBUTES:
            raise ScopeError(f"events have an attribute {key}, which is not the label: use another")
    read = {row.id for row in OPERATIONS if row.kind is Kind.READ} if given.read_only else set()
    if given.labels:
        read = {name for name in read if BY_ID[name].bound is not Bound.NEVER}
    return Policy(
        operations=frozenset({*ALWAYS, *read, *given.operations}),
        labels=MappingProxyType(dict(given.labels)),
        abilities=frozenset(given.allow),
    )
