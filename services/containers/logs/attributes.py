"""What json-file writes with each line and `logs --details` shows: labels, variables, a tag.

Source: moby, daemon/logger, Info.ExtraAttributes, and jsonfilelog's New.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from services.containers.logs.info import LogInfo
from services.containers.logs.tag import TagError, render_tag
from services.errors import InvalidParameter

LIMIT_BYTES: Final = 256 * 1024
"""A label is copied into every line; more than this is a mistake."""

_PATTERN_LIMIT_CHARS: Final = 4096
# RE2's words for what is wrong with a pattern, and Go's.
_GO_WORDS: Final = (
    ("missing ]: ", "missing closing ]"),
    ("missing ): ", "missing closing )"),
    ("unexpected ): ", "unexpected )"),
    ("no argument for repetition operator: ", "missing argument to repetition operator"),
    ("bad repetition operator: ", "invalid nested repetition operator"),
    ("invalid repetition size: ", "invalid repeat count"),
    ("invalid perl operator: ", "invalid or unsupported Perl syntax"),
    ("invalid named capture group: ", "invalid named capture"),
    ("invalid character class range: ", "invalid character class range"),
    ("invalid escape sequence: ", "invalid escape sequence"),
    ("trailing \\", "trailing backslash at end of expression"),
)


def read_attributes(info: LogInfo) -> dict[str, str]:
    """The attributes that `info.config` selects.

    Raises:
        InvalidParameter: a pattern or a tag that is none, in dockerd's words; or they are too long.
    """
    found = selected_attributes(info)
    try:
        tag = render_tag(info.config.get("tag", ""), info)
    except TagError as error:
        raise InvalidParameter(f"failed to initialize logging driver: {error}") from error
    if tag:
        found["tag"] = tag
    if sum(len(key) + len(value) for key, value in found.items()) > LIMIT_BYTES:
        raise InvalidParameter(
            f"failed to initialize logging driver: more than {LIMIT_BYTES} bytes of labels, "
            "variables and tag to write with each line"
        )
    return found


def selected_attributes(info: LogInfo) -> dict[str, str]:
    """The labels and variables that `info.config` selects, without a tag.

    Raises:
        InvalidParameter: a pattern that is none, in dockerd's words.
    """
    config = info.config
    found = _selected(info.labels, config.get("labels", ""), config.get("labels-regex", ""))
    variables = dict(entry.split("=", 1) for entry in info.env if "=" in entry)
    return found | _selected(variables, config.get("env", ""), config.get("env-regex", ""))


def _selected(values: Mapping[str, str], names: str, pattern: str) -> dict[str, str]:
    found = {name: values[name] for name in names.split(",") if name in values}
    if pattern:
        found |= {key: values[key] for key in _matching(pattern, values)}
    return found


def _matching(pattern: str, keys: Iterable[str]) -> list[str]:
    matches = _compile(pattern)
    return [key for key in keys if matches(key)]


def _compile(pattern: str) -> Callable[[str], object]:
    """RE2 is the syntax of Go's patterns, and takes linear time, whatever a client thinks up."""
    import re2  # few containers have a pattern, and it takes 3 MB

    if len(pattern) > _PATTERN_LIMIT_CHARS:
        raise InvalidParameter("failed to initialize logging driver: expression too large")
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options).search  # type: ignore[no-any-return]
    except re2.error as error:
        told = error.args[0]
        text = told.decode(errors="replace") if isinstance(told, bytes) else str(told)
        raise InvalidParameter(
            f"failed to initialize logging driver: error parsing regexp: {_in_go_words(text)}"
        ) from error


def _in_go_words(text: str) -> str:
    for ours, gos in _GO_WORDS:
        if text.startswith(ours):
            # Of an unclosed group Go shows the whole pattern, RE2 too.
            return f"{gos}: `{text.removeprefix(ours)}`"
    return text
