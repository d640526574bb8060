"""The json-file driver's options (`--log-opt`).

Our difference from dockerd: a container's log is bounded unless it says otherwise, at 5 files of
20 MB, 100 MB in all. `max-size=-1` lifts that, as does naming no bound in dockerd.

Source: moby, daemon/logger/jsonfilelog, ValidateLogOpt and New.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.errors import InvalidParameter, NotSupported

DEFAULT_MAX_BYTES: Final = 20 * 1000 * 1000
DEFAULT_MAX_FILES: Final = 5
# Of every driver: how the log is written. Only dockerd's default, which waits for the disk.
MODE: Final = "mode"
_KNOWN: Final = frozenset(
    {
        MODE, "max-buffer-size", "max-file", "max-size", "compress", "labels", "labels-regex",
        "env", "env-regex", "tag",
    }
)  # fmt: skip
_SIZE: Final = re.compile(r"(?P<number>\d+(?:\.\d+)?) ?(?P<unit>[kmgtp]?)(?:i?b)?", re.IGNORECASE)
_UNITS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonFileOptions:
    """`max_bytes` of one file, or None without bound; `max_files` counts the one being written."""

    max_bytes: int | None = DEFAULT_MAX_BYTES
    max_files: int = DEFAULT_MAX_FILES
    compress: bool = False


def check_json_file_options(config: Mapping[str, str]) -> None:
    """What dockerd refuses when a container is created: keys only.

    Raises:
        InvalidParameter: an unknown option, in dockerd's words.
        NotSupported: the non-blocking mode.
    """
    for key in config:
        if key not in _KNOWN:
            raise InvalidParameter(f"unknown log opt '{key}' for json-file log driver")
    mode = config.get(MODE, "blocking")
    if mode == "non-blocking":
        raise NotSupported("log mode non-blocking is not supported yet; use blocking")
    if mode != "blocking":
        raise InvalidParameter(f"logger: logging mode not supported: {mode}")


def parse_json_file_options(config: Mapping[str, str]) -> JsonFileOptions:
    """Options from HostConfig.LogConfig.Config, which dockerd reads when a container starts.

    Raises:
        InvalidParameter: as `check_json_file_options`, or an impossible value, in dockerd's words.
    """
    check_json_file_options(config)
    try:
        max_bytes = _max_bytes(config.get("max-size"))
        max_files = _max_files(config.get("max-file"))
        compress = _flag(config.get("compress", "false"))
        if compress and (max_files == 1 or max_bytes is None):
            raise ValueError(  # noqa: TRY301
                "compress cannot be true when max-file is less than 2 or max-size is not set"
            )
    except ValueError as error:
        raise InvalidParameter(f"failed to initialize logging driver: {error}") from error
    return JsonFileOptions(max_bytes=max_bytes, max_files=max_files, compress=compress)


def size_bytes(text: str) -> int:
    """Bytes of a size such as 10m or 1.5k, units of 1000. Source: docker/go-units, FromHumanSize.

    Raises:
        ValueError: not a size.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"invalid size: '{text}'")
    return int(float(match["number"]) * 1000 ** _UNITS[match["unit"].lower()])


def _max_bytes(text: str | None) -> int | None:
    if text is None:
        return DEFAULT_MAX_BYTES
    if text == "-1":
        return None
    size = size_bytes(text)
    if size <= 0:
        raise ValueError("max-size must be a positive number")
    return size


def _max_files(text: str | None) -> int:
    if text is None:
        return DEFAULT_MAX_FILES
    try:
        count = int(text)
    except ValueError as error:
        raise ValueError(f'strconv.Atoi: parsing "{text}": invalid syntax') from error
    if count < 1:
        raise ValueError("max-file cannot be less than 1")
    return count


def _flag(text: str) -> bool:
    if text not in _TRUE | _FALSE:
        raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')
    return text in _TRUE
