"""Every operation of the Engine API, and what a scoped socket may make of it.

One row for each; a test compares the rows with the definition, so that a new operation is refused
by scoped sockets until somebody has thought about it.

Source: Engine API, paths and operation ids.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from types import MappingProxyType
from typing import Final


class Kind(Enum):
    """What an operation does to the engine, and what it gives away."""

    READ = "read"
    """Changes nothing, and shows the state of things: what `read-only` permits."""

    SHOWS = "shows"
    """Changes nothing, but shows what containers and the swarm keep (output, files, command lines
    with the variables in them, tokens), or makes the engine ask others. By name only."""

    CHANGES = "changes"
    """By name only."""


class Bound(Enum):
    """How an operation is kept to the containers with a policy's labels."""

    FREE = "free"  # has nothing to do with containers
    CONTAINER = "container"  # its path names one
    EXEC = "exec"  # its path names an exec, which is a container's
    LIST = "list"  # filtered by labels
    PRUNE = "prune"  # the same; changes
    EVENTS = "events"  # filtered by type and labels
    CREATE = "create"  # gets the labels
    NEVER = "never"  # cannot be: not permitted beside labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation; `path` as the definition has it."""

    method: str
    path: str
    id: str
    kind: Kind
    bound: Bound


READ, SHOWS, CHANGES = Kind.READ, Kind.SHOWS, Kind.CHANGES
FREE, CONTAINER, EXEC, LIST, PRUNE, EVENTS, CREATE, NEVER = (
    Bound.FREE, Bound.CONTAINER, Bound.EXEC, Bound.LIST, Bound.PRUNE, Bound.EVENTS, Bound.CREATE,
    Bound.NEVER,
)  # fmt: skip


def _row(where: str, operation_id: str, kind: Kind, bound: Bound) -> Operation:
    method, _, path = where.partition(" ")
    return Operation(method=method, path=path, id=operation_id, kind=kind, bound=bound)


OPERATIONS: Final = (
    _row("GET /containers/json", "ContainerList", READ, LIST),
    _row("POST /containers/create", "ContainerCreate", CHANGES, CREATE),
    _row("GET /containers/{id}/json", "ContainerInspect", READ, CONTAINER),
    _row("GET /containers/{id}/top", "ContainerTop", SHOWS, CONTAINER),
    _row("GET /containers/{id}/logs", "ContainerLogs", SHOWS, CONTAINER),
    _row("GET /containers/{id}/changes", "ContainerChanges", SHOWS, CONTAINER),
    _row("GET /containers/{id}/export", "ContainerExport", SHOWS, CONTAINER),
    _row("GET /containers/{id}/stats", "ContainerStats", READ, CONTAINER),
    _row("POST /containers/{id}/resize", "ContainerResize", CHANGES, CONTAINER),
    _row("POST /containers/{id}/start", "ContainerStart", CHANGES, CONTAINER),
    _row("POST /containers/{id}/stop", "ContainerStop", CHANGES, CONTAINER),
    _row("POST /containers/{id}/restart", "ContainerRestart", CHANGES, CONTAINER),
    _row("POST /containers/{id}/kill", "ContainerKill", CHANGES, CONTAINER),
    _row("POST /containers/{id}/update", "ContainerUpdate", CHANGES, CONTAINER),
    _row("POST /containers/{id}/rename", "ContainerRename", CHANGES, CONTAINER),
    _row("POST /containers/{id}/pause", "ContainerPause", CHANGES, CONTAINER),
    _row("POST /containers/{id}/unpause", "ContainerUnpause", CHANGES, CONTAINER),
    _row("POST /containers/{id}/attach", "ContainerAttach", CHANGES, CONTAINER),
    _row("GET /containers/{id}/attach/ws", "ContainerAttachWebsocket", SHOWS, CONTAINER),
    _row("POST /containers/{id}/wait", "ContainerWait", SHOWS, CONTAINER),
    _row("DELETE /containers/{id}", "ContainerDelete", CHANGES, CONTAINER),
    _row("HEAD /containers/{id}/archive", "ContainerArchiveInfo", SHOWS, CONTAINER),
    _row("GET /containers/{id}/archive", "ContainerArchive", SHOWS, CONTAINER),
    _row("PUT /containers/{id}/archive", "PutContainerArchive", CHANGES, CONTAINER),
    _row("POST /containers/prune", "ContainerPrune", CHANGES, PRUNE),
    _row("GET /images/json", "ImageList", READ, FREE),
    _row("POST /build", "ImageBuild", CHANGES, NEVER),
    _row("POST /build/prune", "BuildPrune", CHANGES, NEVER),
    _row("POST /images/create", "ImageCreate", CHANGES, FREE),
    _row("GET /images/{name}/json", "ImageInspect", READ, FREE),
    _row("GET /images/{name}/attestations", "ImageAttestations", READ, FREE),
    _row("GET /images/{name}/history", "ImageHistory", READ, FREE),
    _row("POST /images/{name}/push", "ImagePush", CHANGES, NEVER),
    _row("POST /images/{name}/tag", "ImageTag", CHANGES, NEVER),
    _row("DELETE /images/{name}", "ImageDelete", CHANGES, NEVER),
    _row("GET /images/search", "ImageSearch", SHOWS, FREE),
    _row("POST /images/prune", "ImagePrune", CHANGES, NEVER),
    _row("POST /auth", "SystemAuth", SHOWS, FREE),
    _row("GET /info", "SystemInfo", READ, FREE),
    _row("GET /version", "SystemVersion", READ, FREE),
    _row("GET /_ping", "SystemPing", READ, FREE),
    _row("HEAD /_ping", "SystemPingHead", READ, FREE),
    _row("POST /commit", "ImageCommit", CHANGES, NEVER),
    _row("GET /events", "SystemEvents", READ, EVENTS),
    _row("GET /system/df", "SystemDataUsage", READ, NEVER),
    _row("GET /images/{name}/get", "ImageGet", SHOWS, NEVER),
    _row("GET /images/get", "ImageGetAll", SHOWS, NEVER),
    _row("POST /images/load", "ImageLoad", CHANGES, NEVER),
    _row("POST /containers/{id}/exec", "ContainerExec", CHANGES, CONTAINER),
    _row("POST /exec/{id}/start", "ExecStart", CHANGES, EXEC),
    _row("POST /exec/{id}/resize", "ExecResize", CHANGES, EXEC),
    _row("GET /exec/{id}/json", "ExecInspect", READ, EXEC),
    _row("GET /volumes", "VolumeList", READ, NEVER),
    _row("POST /volumes/create", "VolumeCreate", CHANGES, NEVER),
    _row("GET /volumes/{name}", "VolumeInspect", READ, NEVER),
    _row("PUT /volumes/{name}", "VolumeUpdate", CHANGES, NEVER),
    _row("DELETE /volumes/{name}", "VolumeDelete", CHANGES, NEVER),
    _row("POST /volumes/prune", "VolumePrune", CHANGES, NEVER),
    _row("GET /networks", "NetworkList", READ, NEVER),
    _row("GET /networks/{id}", "NetworkInspect", READ, NEVER),
    _row("DELETE /networks/{id}", "NetworkDelete", CHANGES, NEVER),
    _row("POST /networks/create", "NetworkCreate", CHANGES, NEVER),
    _row("POST /networks/{id}/connect", "NetworkConnect", CHANGES, NEVER),
    _row("POST /networks/{id}/disconnect", "NetworkDisconnect", CHANGES, NEVER),
    _row("POST /networks/prune", "NetworkPrune", CHANGES, NEVER),
    _row("GET /plugins", "PluginList", READ, NEVER),
    _row("GET /plugins/privileges", "GetPluginPrivileges", SHOWS, NEVER),
    _row("POST /plugins/pull", "PluginPull", CHANGES, NEVER),
    _row("GET /plugins/{name}/json", "PluginInspect", READ, NEVER),
    _row("DELETE /plugins/{name}", "PluginDelete", CHANGES, NEVER),
    _row("POST /plugins/{name}/enable", "PluginEnable", CHANGES, NEVER),
    _row("POST /plugins/{name}/disable", "PluginDisable", CHANGES, NEVER),
    _row("POST /plugins/{name}/upgrade", "PluginUpgrade", CHANGES, NEVER),
    _row("POST /plugins/create", "PluginCreate", CHANGES, NEVER),
    _row("POST /plugins/{name}/push", "PluginPush", CHANGES, NEVER),
    _row("POST /plugins/{name}/set", "PluginSet", CHANGES, NEVER),
    _row("GET /nodes", "NodeList", READ, NEVER),
    _row("GET /nodes/{id}", "NodeInspect", READ, NEVER),
    _row("DELETE /nodes/{id}", "NodeDelete", CHANGES, NEVER),
    _row("POST /nodes/{id}/update", "NodeUpdate", CHANGES, NEVER),
    _row("GET /swarm", "SwarmInspect", SHOWS, NEVER),
    _row("POST /swarm/init", "SwarmInit", CHANGES, NEVER),
    _row("POST /swarm/join", "SwarmJoin", CHANGES, NEVER),
    _row("POST /swarm/leave", "SwarmLeave", CHANGES, NEVER),
    _row("POST /swarm/update", "SwarmUpdate", CHANGES, NEVER),
    _row("GET /swarm/unlockkey", "SwarmUnlockkey", SHOWS, NEVER),
    _row("POST /swarm/unlock", "SwarmUnlock", CHANGES, NEVER),
    _row("GET /services", "ServiceList", READ, NEVER),
    _row("POST /services/create", "ServiceCreate", CHANGES, NEVER),
    _row("GET /services/{id}", "ServiceInspect", SHOWS, NEVER),
    _row("DELETE /services/{id}", "ServiceDelete", CHANGES, NEVER),
    _row("POST /services/{id}/update", "ServiceUpdate", CHANGES, NEVER),
    _row("GET /services/{id}/logs", "ServiceLogs", SHOWS, NEVER),
    _row("GET /tasks", "TaskList", READ, NEVER),
    _row("GET /tasks/{id}", "TaskInspect", SHOWS, NEVER),
    _row("GET /tasks/{id}/logs", "TaskLogs", SHOWS, NEVER),
    _row("GET /secrets", "SecretList", SHOWS, NEVER),
    _row("POST /secrets/create", "SecretCreate", CHANGES, NEVER),
    _row("GET /secrets/{id}", "SecretInspect", SHOWS, NEVER),
    _row("DELETE /secrets/{id}", "SecretDelete", CHANGES, NEVER),
    _row("POST /secrets/{id}/update", "SecretUpdate", CHANGES, NEVER),
    _row("GET /configs", "ConfigList", SHOWS, NEVER),
    _row("POST /configs/create", "ConfigCreate", CHANGES, NEVER),
    _row("GET /configs/{id}", "ConfigInspect", SHOWS, NEVER),
    _row("DELETE /configs/{id}", "ConfigDelete", CHANGES, NEVER),
    _row("POST /configs/{id}/update", "ConfigUpdate", CHANGES, NEVER),
    _row("GET /distribution/{name}/json", "DistributionInspect", SHOWS, FREE),
    _row("POST /session", "Session", CHANGES, NEVER),
)
BY_ID: Final[Mapping[str, Operation]] = MappingProxyType({row.id: row for row in OPERATIONS})


def _pattern(path: str) -> re.Pattern[str]:
    """Names and containers' references may hold slashes, as the router takes them."""
    takes_slashes = "{name}" in path or path.startswith("/containers/")
    parts = re.split(r"\{\w+\}", path)
    reference = "(.+)" if takes_slashes else "([^/]+)"
    return re.compile(reference.join(re.escape(part) for part in parts), re.DOTALL)


@cache  # a hundred patterns; only engines that look at operations need them
def _patterns() -> tuple[tuple[Operation, re.Pattern[str]], ...]:
    return tuple((row, _pattern(row.path)) for row in OPERATIONS)


@dataclass(frozen=True, slots=True)
class Match:
    """An operation that a request may be, and the object that its path names."""

    operation: Operation
    reference: str


def matches(method: str, path: str) -> tuple[Match, ...]:
    """All operations that a request (its path without version) may be; none: no such operation.

    There may be several, since names can hold slashes; who permits must permit each of them.
    A literal path wins, as in the router.
    """
    found = []
    for row, pattern in _patterns():
        if row.method == method and (match := pattern.fullmatch(path)):
            if not match.groups():
                return (Match(row, ""),)
            found.append(Match(row, match[1]))
    return tuple(found)
