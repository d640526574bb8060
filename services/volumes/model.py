"""What a volume is, and the rules for its name and options. Pure.

Source: Engine API, schemas Volume and VolumeCreateRequest; moby, volume/local.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from services.errors import InvalidParameter, NotFound

LOCAL_DRIVER: Final = "local"

ANONYMOUS_LABEL: Final = "com.docker.volume.anonymous"
"""Carried by volumes that nobody named; only those are pruned by default."""

_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_MAX_NAME: Final = 255  # a file name's
_OPTIONS: Final = frozenset({"type", "o", "device"})
# dockerd's words without project quotas.
_UNSUPPORTED_OPTIONS: Final = MappingProxyType(
    {"size": "quota size requested but no quota support"}
)


class Volume(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A volume of the local driver.

    `made_for`: the container that is being made with it, until that one's record is on disk.
    `is_removing`: its removal was acknowledged to the disk, and its data may be gone in part.
    """

    name: str
    created_at_ns: int
    labels: dict[str, str] = {}
    options: dict[str, str] = {}
    made_for: str = ""
    is_removing: bool = False

    @property
    def is_anonymous(self) -> bool:
        """Whether nobody named it."""
        return ANONYMOUS_LABEL in self.labels

    @property
    def needs_mount(self) -> bool:
        """Whether something must be mounted on its directory before it can be used."""
        return bool(self.options)


def made_up_name() -> str:
    """The name of a volume that nobody named: 64 hexadecimal digits."""
    return secrets.token_hex(32)


def check_name(name: str) -> None:
    """Raises InvalidParameter, in dockerd's words, for a name that could leave the directory."""
    if len(name) == 1:
        raise InvalidParameter(
            f"create {name}: volume name is too short, names should be at least two alphanumeric "
            "characters"
        )
    if not _NAME.fullmatch(name) or len(name) > _MAX_NAME:
        raise InvalidParameter(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, '
            "use absolute path"
        )


def check_driver(name: str, driver: str) -> None:
    """Raises NotFound for any driver but our own: there are no volume plugins."""
    if driver not in ("", LOCAL_DRIVER):
        raise NotFound(
            f'create {name}: error looking up volume plugin {driver}: plugin "{driver}" not found'
        )


def check_options(name: str, options: Mapping[str, str]) -> None:
    """Options of the local driver: `type`, `device` and `o`, as mount(8) takes them.

    Raises:
        InvalidParameter: an option that is none, or one without which another makes no sense.
    """
    for option in options:
        if option in _UNSUPPORTED_OPTIONS:
            raise InvalidParameter(f"create {name}: {_UNSUPPORTED_OPTIONS[option]}")
        if option not in _OPTIONS:
            raise InvalidParameter(f'create {name}: invalid option: "{option}"')
    if any(options.get(option) for option in ("type", "o")) and not options.get("device"):
        raise InvalidParameter(f'create {name}: missing required option: "device"')
    if options.get("device") and not (options.get("type") or options.get("o")):
        raise InvalidParameter(f'create {name}: missing required option: "type"')
    if any("\0" in value for value in options.values()):
        raise InvalidParameter(f"create {name}: an option holds a null byte")
