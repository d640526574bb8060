"""The options of drivers that send elsewhere, and the driver that they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from services.containers.logs.flags import parse_flag
from services.containers.logs.info import LogInfo
from services.containers.logs.remote import fluentd, gelf, journald, syslog
from services.containers.logs.remote.driver import Driver
from services.containers.logs.remote.fluentd import FluentdDriver, parse_fluentd
from services.containers.logs.remote.gelf import GelfDriver, parse_gelf
from services.containers.logs.remote.journald import JournaldDriver
from services.containers.logs.remote.syslog import SyslogDriver, parse_syslog
from services.errors import InvalidParameter

FLUENTD: Final = "fluentd"
BLOCKING_BUFFER_BYTES: Final = 4 * 1024 * 1024
"""What may wait for a server in blocking mode before the process waits too."""

_ATTRIBUTES: Final = frozenset({"env", "env-regex", "labels", "labels-regex", "tag"})


@dataclass(frozen=True, slots=True)
class _Kind:
    keys: frozenset[str]
    unknown_key: str
    check: Callable[[Mapping[str, str]], object]
    make: Callable[[LogInfo], Driver]


_KINDS: Final = MappingProxyType(
    {
        FLUENTD: _Kind(fluentd.KEYS, fluentd.UNKNOWN_KEY, parse_fluentd, FluentdDriver),
        "gelf": _Kind(gelf.KEYS, gelf.UNKNOWN_KEY, parse_gelf, GelfDriver),
        "journald": _Kind(frozenset(), journald.UNKNOWN_KEY, dict, JournaldDriver),
        "syslog": _Kind(syslog.KEYS, syslog.UNKNOWN_KEY, parse_syslog, SyslogDriver),
    }
)
REMOTE_DRIVERS: Final = tuple(_KINDS)


def check_remote(driver: str, config: Mapping[str, str]) -> None:
    """Refuse what a driver cannot work with; `config` without the keys that all drivers have.

    Raises:
        InvalidParameter: in dockerd's words.
    """
    kind = _KINDS[driver]
    for key in config:
        if key not in kind.keys | _ATTRIBUTES:
            raise InvalidParameter(kind.unknown_key.format(key))
    try:
        kind.check(config)
    except ValueError as error:
        raise InvalidParameter(str(error)) from error


def check_cache(config: Mapping[str, str]) -> None:
    """Raises InvalidParameter, in dockerd's words: `cache-disabled` is neither true nor false."""
    text = config.get("cache-disabled", "")
    try:
        parse_flag(text or "false")
    except ValueError as error:
        raise InvalidParameter(f"invalid value for option cache-disabled: {text}") from error


def is_cached(config: Mapping[str, str]) -> bool:
    """Whether `docker logs` is to find what was sent elsewhere."""
    return not parse_flag(config.get("cache-disabled") or "false")


def waiting_bytes(driver: str, config: Mapping[str, str], buffer_bytes: int | None) -> int:
    """How much may wait for the server; `buffer_bytes` is the non-blocking mode's."""
    if buffer_bytes is not None:
        return buffer_bytes
    if driver == FLUENTD and config.get("fluentd-buffer-limit"):
        return parse_fluentd(config).buffer_bytes
    return BLOCKING_BUFFER_BYTES


def make_driver(driver: str, info: LogInfo) -> Driver:
    """The driver that `info.config` describes.

    Raises:
        ValueError, InvalidParameter: it cannot be made; creation has refused that, but the world
            may have changed (a socket file that is gone).
    """
    return _KINDS[driver].make(info)
