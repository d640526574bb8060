"""Dockerfile instructions as `docker commit --change` and `docker import --change` take them. Pure.

Each changes what a container of the image starts with.

Source: Dockerfile reference; moby, builder/dockerfile/builder.go (BuildFromConfig) for which are
allowed and what they become, frontend/dockerfile/instructions for the refusals.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from services.dockerfile import (
    ExpansionError,
    Line,
    Quoting,
    expand,
    read_lines,
    split_words,
)
from services.errors import InvalidParameter

from .healthcheck import healthcheck_of
from .instruction_words import json_words as json_words
from .instruction_words import require_words
from .oci import RunConfig

SHELL: Final = ("/bin/sh", "-c")
_PORT: Final = re.compile(r"(?P<first>\d{1,5})(?:-(?P<last>\d{1,5}))?(?:/(?P<kind>[a-z]+))?")
_SIGNAL: Final = re.compile(r"(?:SIG)?[A-Z0-9+-]+|\d+")
_MAX_RANGE: Final = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What an instruction may refer to, and the shell for commands that are no JSON array."""

    variables: Mapping[str, str]
    escape: str = "\\"
    shell: Sequence[str] = SHELL


def apply_instructions(config: RunConfig, changes: Sequence[str]) -> RunConfig:
    """`config` after the instructions, each of which may be several lines.

    Raises:
        InvalidParameter: one is not allowed here, or malformed; dockerd's words.
    """
    text = "\n".join(changes)
    has_command = False  # a CMD of these
    for line in read_lines(text.encode()).lines if text.strip() else ():
        if line.keyword not in CONFIG_INSTRUCTIONS:
            raise InvalidParameter(f"{line.keyword} is not a valid change command")
        config = apply_line(config, line, Scope(variables=environment_of(config)))
        has_command |= line.keyword == "CMD"
        if line.keyword == "ENTRYPOINT" and not has_command:
            config = _with(config, cmd=None)  # it was meant for the entrypoint before
    return config


def apply_line(config: RunConfig, line: Line, scope: Scope) -> RunConfig:
    """`config` after one of CONFIG_INSTRUCTIONS.

    Raises:
        InvalidParameter: it is malformed; dockerd's words.
    """
    return _HANDLERS[line.keyword](config, " ".join((*line.flags, line.arguments)), scope)


def check_line(line: Line, escape: str) -> None:
    """Refuse what is malformed whatever variables hold, as dockerd does before it builds anything.

    Raises:
        InvalidParameter: dockerd's words.
    """
    text, scope = " ".join((*line.flags, line.arguments)), Scope(variables={}, escape=escape)
    match line.keyword:
        case "HEALTHCHECK" | "ONBUILD":
            _HANDLERS[line.keyword](RunConfig(), text, scope)
        case "ENV" | "LABEL":
            _split_pairs(text, line.keyword, escape)
        case "VOLUME" if json_words(text) == []:
            require_words("", "VOLUME")
        case "SHELL":
            shell_words(text)
        case _:
            pass


def shell_words(text: str) -> list[str]:
    """The words of a SHELL. Raises InvalidParameter."""
    words = json_words(text)
    if words is None:
        raise InvalidParameter("SHELL requires the arguments to be in JSON form")
    require_words(" ".join(words), "SHELL")
    return words


def environment_of(config: RunConfig) -> dict[str, str]:
    """The variables that it sets."""
    return dict(entry.partition("=")[::2] for entry in config.env or ())


def _expanded(word: str, scope: Scope) -> str:
    """Quotes and escapes worked out, variables replaced."""
    try:
        return expand(word, scope.variables, escape=scope.escape)
    except ExpansionError as error:
        raise InvalidParameter(str(error)) from error


def _one(text: str, name: str, scope: Scope) -> str:
    if not text:
        raise InvalidParameter(f"{name} requires exactly one argument")
    return _expanded(text, scope)


def command_words(text: str, shell: Sequence[str]) -> list[str]:
    """The list that a JSON array is; any other text is for the shell."""
    if (words := json_words(text)) is not None:
        return words
    return [*shell, text]


def _cmd(config: RunConfig, text: str, scope: Scope) -> RunConfig:
    return _with(config, cmd=command_words(text, scope.shell) if text else None)


def _entrypoint(config: RunConfig, text: str, scope: Scope) -> RunConfig:
    words = json_words(text)
    if not text or words == []:
        return _with(config, entrypoint=None)
    return _with(config, entrypoint=command_words(text, scope.shell))


def _env(config: RunConfig, text: str, scope: Scope) -> RunConfig:
    require_words(text, "ENV")
    pairs = _pairs(text, "ENV", scope)
    kept = dict(entry.partition("=")[::2] for entry in config.env or ())
    return _with(config, env=[f"{name}={value}" for name, value in (kept | pairs).items()])


def _label(config: RunConfig, text: str, scope: Scope) -> RunConfig:
    require_words(text, "LABEL")
    return _with(config, labels={**(config.labels or {}), **_pairs(text, "LABEL", scope)})


def _pairs(text: str, name: str, scope: Scope) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for key, value in _split_pairs(text, name, scope.escape):
        if not (expanded := _expanded(key, scope)):
            raise InvalidParameter(f"{name} names can not be blank")
        pairs[expanded] = _expanded(value, scope)
    return pairs


def _split_pairs(text: str, name: str, escape: str) -> list[tuple[str, str]]:
    """`a=b c="d e"`, or the old form `a rest of the line`; as they are written."""
    words = split_words(text, escape, Quoting.KEPT)
    if not words:
        raise InvalidParameter(f"{name} requires at least one argument")
    if "=" not in words[0]:
        key, _, value = text.partition(" ")
        if not value.strip():
            raise InvalidParameter(f"{name} must have two arguments")
        return [(key, value.strip())]
    pairs: list[tuple[str, str]] = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise InvalidParameter(
                f'Syntax error - can\'t find = in "{word}". Must be of the form: name=value'
            )
        if not key:
            raise InvalidParameter(f"{name} names can not be blank")
        pairs.append((key, value))
    return pairs


def _expose(config: RunConfig, text: str, scope: Scope) -> RunConfig:
    require_words(text, "EXPOSE")
    ports: dict[str, dict[str, Any] | None] = dict(config.exposed_ports or {})
    for word in text.split():
        for port in _ports(_expanded(word, scope)):
            ports[port] = {}
    return _with(config, exposed_ports=ports)


def _ports(text: str) -> list[str]:
    """Source: docker/go-connections, nat.ParsePortSpecs; only the container's side counts."""
    container = text.rpartition(":")[2]
    match = _PORT.fullmatch(container)
    if match is None:
        raise InvalidParameter(f"invalid containerPort: {container}")
    first, last = int(match["first"]), int(match["last"] or match["first"])
    kind = match["kind"] or "tcp"
    if kind not in ("tcp", "udp", "sctp"):
        raise InvalidParameter(f"invalid proto: {kind}")
    if not 0 < first <= last < _MAX_RANGE:
        raise InvalidParameter(f"invalid containerPort: {container}")
    return [f"{port}/{kind}" for port in range(first, last + 1)]


def _user(config: RunConfig, text: str, scope: Scope) -> RunConfig:
    return _with(config, user=_one(text, "USER", scope))


def _workdir(config: RunConfig, text: str, scope: Scope) -> RunConfig:
    path = _one(text, "WORKDIR", scope)
    if not path.startswith("/"):
        path = f"{config.working_dir or '/'}/{path}"
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return _with(config, working_dir="/" + "/".join(parts))


def _volume(config: RunConfig, text: str, scope: Scope) -> RunConfig:
    require_words(text, "VOLUME")
    paths = json_words(text)
    paths = text.split() if paths is None else paths
    volumes: dict[str, dict[str, Any] | None] = dict(config.volumes or {})
    for path in paths:
        if not (path := _expanded(path, scope).strip()):
            raise InvalidParameter("VOLUME specified can not be an empty string")
        volumes[path] = {}
    return _with(config, volumes=volumes)


def _onbuild(config: RunConfig, text: str, _scope: Scope) -> RunConfig:
    require_words(text, "ONBUILD")
    trigger = text.split(None, 1)[0].upper()
    if trigger == "ONBUILD":
        raise InvalidParameter("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if trigger in ("MAINTAINER", "FROM"):
        raise InvalidParameter(f"{trigger} isn't allowed as an ONBUILD trigger")
    return _with(config, on_build=[*(config.on_build or ()), text])


def _stopsignal(config: RunConfig, text: str, scope: Scope) -> RunConfig:
    signal = _one(text, "STOPSIGNAL", scope)
    if not _SIGNAL.fullmatch(signal.upper()):
        raise InvalidParameter(f"Invalid signal: {signal}")
    return _with(config, stop_signal=signal)


def _healthcheck(config: RunConfig, text: str, _scope: Scope) -> RunConfig:
    return _with(config, healthcheck=healthcheck_of(text))


def _with(config: RunConfig, **changes: Any) -> RunConfig:
    return msgspec.structs.replace(config, **changes)


_HANDLERS: Final[Mapping[str, Callable[[RunConfig, str, Scope], RunConfig]]] = {
    "CMD": _cmd, "ENTRYPOINT": _entrypoint, "ENV": _env, "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck, "LABEL": _label, "ONBUILD": _onbuild,
    "STOPSIGNAL": _stopsignal, "USER": _user, "VOLUME": _volume, "WORKDIR": _workdir,
}  # fmt: skip

CONFIG_INSTRUCTIONS: Final = frozenset(_HANDLERS)
"""Those that change nothing but the configuration."""
