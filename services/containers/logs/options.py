"""What `--log-driver` and `--log-opt` may say, in dockerd's words where they may not.

Our difference from dockerd: a json-file log is bounded unless it says otherwise, at 5 files of
20 MB, 100 MB in all. `max-size=-1` lifts that, also with `local`, as naming no bound does in
dockerd.

Source: moby, daemon/logger: ValidateLogOpts, jsonfilelog and local; texts tried on dockerd.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeVar

from services.containers.logs.flags import parse_flag
from services.containers.logs.remote.options import (
    REMOTE_DRIVERS,
    check_cache,
    check_remote,
    is_cached,
)
from services.containers.logs.sizes import size_bytes
from services.errors import InvalidParameter, NotSupported

JSON_FILE: Final = "json-file"
LOCAL: Final = "local"
NONE: Final = "none"
DRIVERS: Final = (JSON_FILE, LOCAL, NONE, *REMOTE_DRIVERS)
DEFAULT_MAX_BYTES: Final = 20 * 1000 * 1000
DEFAULT_LOCAL_MAX_BYTES: Final = 20 * 1024 * 1024
DEFAULT_MAX_FILES: Final = 5
DEFAULT_BUFFER_BYTES: Final = 1_000_000
_NOT_OURS: Final = frozenset({"awslogs", "etwlogs", "gcplogs", "logentries", "splunk"})
_FILE_KEYS: Final = frozenset({"max-file", "max-size", "compress"})
_KEYS: Final = MappingProxyType(
    {
        JSON_FILE: _FILE_KEYS | {"labels", "labels-regex", "env", "env-regex", "tag"},
        LOCAL: _FILE_KEYS,
    }
)
# Of every driver; those of the cache mean something to drivers that send elsewhere.
CACHE_KEYS: Final = frozenset(
    {"cache-disabled", "cache-max-size", "cache-max-file", "cache-compress"}
)
_DELIVERY_KEYS: Final = CACHE_KEYS | {"mode", "max-buffer-size"}
_UNKNOWN_KEY: Final = MappingProxyType(
    {
        JSON_FILE: "unknown log opt '{}' for json-file log driver",
        LOCAL: "unknown log opt '{}' for log driver local",
    }
)

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOptions:
    """`max_bytes` of one file, or None without bound; `max_files` counts the one being written."""

    max_bytes: int | None = DEFAULT_MAX_BYTES
    max_files: int = DEFAULT_MAX_FILES
    compress: bool = False


OUTBOX: Final = FileOptions(max_bytes=4 * 1024 * 1024, max_files=2)
"""What waits to be sent when nothing is kept for `docker logs`."""


def check_log_config(driver: str, config: Mapping[str, str]) -> None:
    """What dockerd refuses when a container is created: driver, mode and keys.

    Raises:
        InvalidParameter: in dockerd's words.
        NotSupported: a driver that dockerd has and we do not.
    """
    if driver in _NOT_OURS:
        raise NotSupported(
            f"logging driver {driver} is not supported; use one of {', '.join(DRIVERS)}"
        )
    if driver not in DRIVERS:
        raise InvalidParameter(
            f'error looking up logging plugin {driver}: plugin "{driver}" not found'
        )
    if driver == NONE:
        return
    buffer_bytes(config)
    check_cache(config)
    own = {key: value for key, value in config.items() if key not in _DELIVERY_KEYS}
    if driver in REMOTE_DRIVERS:
        check_remote(driver, own)
        return
    for key in own:
        if key not in _KEYS[driver]:
            raise InvalidParameter(_UNKNOWN_KEY[driver].format(key))


def buffer_bytes(config: Mapping[str, str]) -> int | None:
    """The buffer of a log that is written in non-blocking mode; None in blocking mode.

    Raises:
        InvalidParameter: in dockerd's words.
    """
    mode, size = config.get("mode", ""), config.get("max-buffer-size")
    if mode not in ("", "blocking", "non-blocking"):
        raise InvalidParameter(f"logger: logging mode not supported: {mode}")
    if size is None:
        return DEFAULT_BUFFER_BYTES if mode == "non-blocking" else None
    if mode != "non-blocking":
        raise InvalidParameter(
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'"
        )
    try:
        return size_bytes(size, base=1024)
    except ValueError as error:
        raise InvalidParameter(f"error parsing option max-buffer-size: {error}") from error


def parse_file_options(driver: str, config: Mapping[str, str]) -> FileOptions:
    """Options of the files that a driver writes, which dockerd reads when a container starts.

    Of one that sends elsewhere: those of its local cache, or of what waits to be sent without one.

    Raises:
        InvalidParameter: an impossible value, in dockerd's words.
    """
    try:
        if driver in REMOTE_DRIVERS:
            return _cache(config)
        return _json_file(config) if driver == JSON_FILE else _local(config)
    except ValueError as error:
        raise InvalidParameter(f"failed to initialize logging driver: {error}") from error


def _json_file(config: Mapping[str, str]) -> FileOptions:
    max_bytes = _max_bytes(config.get("max-size"), DEFAULT_MAX_BYTES)
    if max_bytes == 0:
        raise ValueError("max-size must be a positive number")
    max_files = _max_files(config.get("max-file"))
    if max_files < 1:
        raise ValueError("max-file cannot be less than 1")
    compress = parse_flag(config.get("compress", "false"))
    if compress and (max_files == 1 or max_bytes is None):
        raise ValueError(
            "compress cannot be true when max-file is less than 2 or max-size is not set"
        )
    return FileOptions(max_bytes=max_bytes, max_files=max_files, compress=compress)


def _local(config: Mapping[str, str]) -> FileOptions:
    max_bytes = _named(
        "invalid value for max-size: {}",
        config,
        "max-size",
        lambda text: _max_bytes(text, DEFAULT_LOCAL_MAX_BYTES),
    )
    if max_bytes == 0:
        raise ValueError("max size should be a positive number")
    max_files = _named("invalid value for max-file: {}", config, "max-file", _max_files)
    compress = _named(
        "error reading compress log option",
        config,
        "compress",
        lambda text: True if text is None else parse_flag(text),
    )
    if max_files < 0:
        raise ValueError("max file count cannot be less than 0")
    if compress and max_files <= 1:
        raise ValueError("compression cannot be enabled when max file count is 1")
    return FileOptions(max_bytes=max_bytes, max_files=max(1, max_files), compress=compress)


def _cache(config: Mapping[str, str]) -> FileOptions:
    if not is_cached(config):
        return OUTBOX
    prefix = "cache-"
    of_cache = {
        key.removeprefix(prefix): value for key, value in config.items() if key.startswith(prefix)
    }
    try:
        return _local(of_cache)
    except ValueError as error:
        raise ValueError(f"error initializing local log cache driver: {error}") from error


def _named(what: str, config: Mapping[str, str], key: str, parse: Callable[[str | None], _T]) -> _T:
    text = config.get(key)
    try:
        return parse(text)
    except ValueError as error:
        raise ValueError(f"{what.format(text)}: {error}") from error


def _max_bytes(text: str | None, default: int) -> int | None:
    if text is None:
        return default
    return None if text == "-1" else size_bytes(text)


def _max_files(text: str | None) -> int:
    if text is None:
        return DEFAULT_MAX_FILES
    try:
        return int(text)
    except ValueError as error:
        raise ValueError(f'strconv.Atoi: parsing "{text}": invalid syntax') from error
