"""Tags (`--log-opt tag=...`): the part of Go's templates that tags are written in.

Fields of the container, strings and numbers, the functions below, pipelines, and `-` that trims.
What else Go's templates can do (if, range, variables, ...) is refused with a sentence.

Source: docs.docker.com, "Customize log driver output"; moby, daemon/logger/loginfo.go and
loggerutils/log_tag.go; Go, text/template.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from services.containers.logs.info import LogInfo

DEFAULT_TAG: Final = "{{.ID}}"
"""Of drivers that send elsewhere; json-file has none."""

_SHORT_ID: Final = 12
_TAG_LIMIT_CHARS: Final = 16 * 1024
_TOKEN: Final = re.compile(
    r'\s*(?:(?P<string>"(?:[^"\\]|\\.)*")|(?P<raw>`[^`]*`)|(?P<number>-?\d+)|'
    r"(?P<field>\.[A-Za-z_]\w*)|(?P<word>[A-Za-z_]\w*)|(?P<pipe>\|))"
)


class TagError(ValueError):
    """A tag that cannot be rendered, in Go's words where it has some."""


def render_tag(template: str, info: LogInfo) -> str:
    """What `template` says of a container.

    Raises:
        TagError: it is none.
    """
    if len(template) > _TAG_LIMIT_CHARS:
        raise TagError("template: log-tag: too long")
    parts: list[str] = []
    rest = template
    while True:
        text, opened, rest = rest.partition("{{")
        is_trimmed = opened and rest[:1] == "-" and rest[1:2].isspace()
        parts.append(text.rstrip() if is_trimmed else text)
        if not opened:
            break
        action, closed, rest = rest.partition("}}")
        if not closed:
            raise TagError("template: log-tag:1: unclosed action")
        action = action[1:] if is_trimmed else action
        if action.endswith("-") and action[-2:-1].isspace():
            action, rest = action[:-1], rest.lstrip()
        if not (action.startswith("/*") and action.endswith("*/")):
            parts.append(_go_text(_evaluate(action, info)))
    rendered = "".join(parts)
    if len(rendered) > _TAG_LIMIT_CHARS:
        raise TagError("template: log-tag: the result is too long")
    return rendered


def _evaluate(action: str, info: LogInfo) -> object:
    stages: list[list[tuple[str, str]]] = [[]]
    position, text = 0, action.strip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise TagError(f'template: log-tag:1: "{text[position:].strip()}" is not supported')
        kind = match.lastgroup or ""
        if kind == "pipe":
            stages.append([])
        else:
            stages[-1].append((kind, match[kind]))
        position = match.end()
    value: object = None
    for number, stage in enumerate(stages):
        if not stage:
            raise TagError("template: log-tag:1: missing value for command")
        value = _command(stage, [value] if number else [], info)
    return value


def _command(stage: list[tuple[str, str]], piped: list[object], info: LogInfo) -> object:
    (kind, text), *operands = stage
    if kind == "word":
        function = _FUNCTIONS.get(text)
        if function is None:
            raise TagError(f'template: log-tag:1: function "{text}" not defined')
        arguments = [_value(operand, info) for operand in operands] + piped
        try:
            return function(*arguments)
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            raise TagError(
                f'template: log-tag:1: executing "log-tag" at <{text}>: error calling {text}: '
                f"{error}"
            ) from error
    if operands or piped:
        raise TagError(f"template: log-tag:1: can't give argument to non-function {text}")
    return _value((kind, text), info)


def _value(operand: tuple[str, str], info: LogInfo) -> object:
    kind, text = operand
    if kind == "field":
        field = _FIELDS.get(text[1:])
        if field is None:
            raise TagError(
                f'template: log-tag:1:2: executing "log-tag" at <{text}>: '
                f"can't evaluate field {text[1:]} in type *logger.Info"
            )
        return field(info)
    if kind == "number":
        return int(text)
    if kind == "raw":
        return text[1:-1]
    if kind == "string":
        try:
            return json.loads(text)
        except ValueError as error:
            raise TagError(f"template: log-tag:1: invalid string {text}") from error
    raise TagError(f'template: log-tag:1: "{text}" is not supported there')


_FIELDS: Final[Mapping[str, Callable[[LogInfo], object]]] = MappingProxyType(
    {
        "ID": lambda info: info.container_id[:_SHORT_ID],
        "FullID": lambda info: info.container_id,
        "Name": lambda info: info.name.removeprefix("/"),
        "ImageID": lambda info: info.image_id[:_SHORT_ID],
        "ImageFullID": lambda info: info.image_id,
        "ImageName": lambda info: info.image_name,
        "DaemonName": lambda info: info.daemon_name,
        "Command": lambda info: " ".join([info.entrypoint, *info.arguments]),
        "Hostname": lambda info: info.hostname,
        "Config": lambda info: info.config,
        "ContainerID": lambda info: info.container_id,
        "ContainerName": lambda info: info.name,
        "ContainerEntrypoint": lambda info: info.entrypoint,
        "ContainerArgs": lambda info: info.arguments,
        "ContainerImageID": lambda info: info.image_id,
        "ContainerImageName": lambda info: info.image_name,
        "ContainerCreated": lambda info: info.created,
        "ContainerEnv": lambda info: info.env,
        "ContainerLabels": lambda info: info.labels,
        "LogPath": lambda info: info.log_path,
    }
)


def _index(values: Any, *keys: object) -> object:
    for key in keys:
        values = values.get(key, "") if isinstance(values, Mapping) else values[key]
    return values


def _truncate(text: str, count: int) -> str:
    return text[: max(0, count)]


def _pad(text: str, before: int, after: int) -> str:
    if max(before, after) > _TAG_LIMIT_CHARS:
        raise ValueError("too wide")
    return f"{' ' * before}{text}{' ' * after}" if text else text


def _to_json(value: object) -> str:
    if isinstance(value, Mapping):
        value = dict(sorted(value.items()))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        value = list(value)
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


_FUNCTIONS: Final[Mapping[str, Callable[..., object]]] = MappingProxyType(
    {
        "index": _index,
        "join": lambda parts, separator: separator.join(parts),
        "json": _to_json,
        "lower": lambda text: text.lower(),
        "len": len,
        "pad": _pad,
        "split": lambda text, separator: text.split(separator),
        "title": lambda text: text.title(),
        "truncate": _truncate,
        "upper": lambda text: text.upper(),
    }
)


def _go_text(value: object) -> str:
    """As Go prints it."""
    if isinstance(value, Mapping):
        return f"map[{' '.join(f'{key}:{value[key]}' for key in sorted(value))}]"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{' '.join(map(str, value))}]"
    return str(value)
