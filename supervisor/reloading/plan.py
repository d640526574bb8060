"""What a change of the settings takes: a pure function of the old ones and the new."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from services.api.listening.hosts import Host
from supervisor.configuration.settings import Settings

from .table import How, names_of, rule_of

if TYPE_CHECKING:
    from services.api.access.scopes import ScopedSocket

_Section = TypeVar("_Section")


@dataclass(frozen=True, slots=True, kw_only=True)
class PartChange:
    """A part that begins anew, and the settings that it does so for."""

    path: str
    settings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be done. Settings are named as in daemon.json, in order of their names.

    `target` is what will be in force: the new settings, but for those that wait for the daemon's
    restart, which stay. `reread` are the files that settings name and that are read again whether
    the settings have changed or not.
    """

    target: Settings
    live: tuple[str, ...] = ()
    parts: tuple[PartChange, ...] = ()
    waiting: tuple[str, ...] = ()
    reread: tuple[Path, ...] = ()


def make_plan(old: Settings, new: Settings) -> Plan:
    """The way from `old`, which is in force, to `new`, which is what the file says."""
    changed = changed_fields(old, new)
    by_how = {how: [path for path in changed if rule_of(path).how is how] for how in How}
    parts: dict[str, list[str]] = {}
    for path in by_how[How.PART]:
        parts.setdefault(rule_of(path).part, []).append(path)
    target = _with_fields_of(new, old, by_how[How.DAEMON])
    return Plan(
        target=target,
        live=_named(by_how[How.LIVE]),
        parts=tuple(
            PartChange(path=part, settings=_named(paths)) for part, paths in sorted(parts.items())
        ),
        waiting=_named(by_how[How.DAEMON]),
        reread=_files_of(target),
    )


def changed_fields(old: object, new: object, prefix: str = "") -> list[str]:
    """Paths of the fields that differ; sections are gone into, values are not."""
    paths: list[str] = []
    for field in fields(old):  # type: ignore[arg-type]  # dataclasses, by the callers' checks
        before, after = getattr(old, field.name), getattr(new, field.name)
        if before == after:
            continue
        path = prefix + field.name
        is_section = is_dataclass(before) and type(before) is type(after)
        paths += changed_fields(before, after, path + ".") if is_section else [path]
    return paths


@dataclass(frozen=True, slots=True, kw_only=True)
class HostChanges:
    """How the API's addresses change.

    `yielding` go before the new ones are opened, for they have the same port; `leaving` when all
    the rest is done.
    """

    added: tuple[Host, ...]
    yielding: tuple[Host, ...]
    leaving: tuple[Host, ...]


def host_changes(old: Sequence[Host], new: Sequence[Host]) -> HostChanges:
    """Hosts that both name are not in it: nobody touches them."""
    added = tuple(host for host in new if host not in old)
    removed = [host for host in old if host not in new]
    ports = {_port(host) for host in added} - {0}
    return HostChanges(
        added=added,
        yielding=tuple(host for host in removed if _port(host) in ports),
        leaving=tuple(host for host in removed if _port(host) not in ports),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeChanges:
    """How scoped sockets change; each is known by its path. `changed` are pairs, old and new."""

    added: tuple[ScopedSocket, ...]
    changed: tuple[tuple[ScopedSocket, ScopedSocket], ...]
    leaving: tuple[ScopedSocket, ...]


def scope_changes(old: Sequence[ScopedSocket], new: Sequence[ScopedSocket]) -> ScopeChanges:
    """Sockets that both have with the same group and policy are not in it: nobody touches them."""
    before, after = {one.path: one for one in old}, {one.path: one for one in new}
    return ScopeChanges(
        added=tuple(one for one in new if one.path not in before),
        changed=tuple(
            (before[one.path], one) for one in new if one.path in before and before[one.path] != one
        ),
        leaving=tuple(one for one in old if one.path not in after),
    )


def _port(host: Host) -> int:
    """0 where there is none, or any will do."""
    return getattr(host, "port", 0)


def _named(paths: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({name for path in paths for name in names_of(path)}))


def _with_fields_of(section: _Section, other: _Section, paths: Iterable[str]) -> _Section:
    """`section` with the fields of these paths taken from `other`."""
    below: dict[str, list[str]] = {}
    for path in paths:
        name, _, rest = path.partition(".")
        below.setdefault(name, []).append(rest)
    values = {
        name: (
            getattr(other, name)
            if "" in rests
            else _with_fields_of(getattr(section, name), getattr(other, name), rests)
        )
        for name, rests in below.items()
    }
    return replace(section, **values)  # type: ignore[type-var]  # a dataclass, as `changed_fields`


def _files_of(settings: Settings) -> tuple[Path, ...]:
    tls = settings.api.tls
    files = []
    if tls is not None:
        files = [tls.cert_file, tls.key_file, *([tls.ca_file] if tls.verify else [])]
    if settings.containers.seccomp_profile not in ("builtin", "unconfined"):
        files.append(Path(settings.containers.seccomp_profile))
    return tuple(files)
