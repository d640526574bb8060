"""One `RUN --mount=...`: its options, read and checked. Pure.

Source: Docker documentation, "Dockerfile reference", RUN --mount; BuildKit,
frontend/dockerfile/instructions/commands_runmount.go, for what is refused and in which words.
"""

from __future__ import annotations

import csv
import enum
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from services.containers.logs.sizes import size_bytes
from services.errors import InvalidParameter

from .sharing import Sharing

_VARIABLE: Final = re.compile(r"\$.")
_TRUE: Final = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE: Final = frozenset(("0", "f", "F", "FALSE", "false", "False"))
_MAX_NUMBER: Final = (1 << 32) - 1
_SAME: Final = {
    "src": "source", "dst": "target", "destination": "target", "ro": "readonly", "rw": "readwrite",
}  # fmt: skip

Expand = Callable[[str], str]
"""Replaces the variables of a value and takes its quotes away."""


class MountType(enum.Enum):
    """What is mounted."""

    BIND = "bind"
    CACHE = "cache"
    TMPFS = "tmpfs"
    SECRET = "secret"  # noqa: S105 - a word of the Dockerfile's
    SSH = "ssh"


_ON_REQUEST: Final = frozenset((MountType.SECRET, MountType.SSH))
_WITH_OWNER: Final = _ON_REQUEST | {MountType.CACHE}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMount:
    """One mount as it is written. `origin` is its `from`, a stage or an image.

    `size_bytes` 0 is no limit; `mode`, `uid` and `gid` None are not said.
    """

    type: MountType = MountType.BIND
    target: str = ""
    source: str = ""
    origin: str = ""
    id: str = ""
    env: str = ""
    sharing: Sharing = Sharing.SHARED
    is_read_only: bool = True
    is_required: bool = False
    size_bytes: int = 0
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None

    @property
    def has_owner(self) -> bool:
        """Whether anything is said about whose it is."""
        return any(one is not None for one in (self.mode, self.uid, self.gid))


def parse_mount(text: str, expand: Expand) -> RunMount:
    """The mount that a flag's value says.

    Raises:
        InvalidParameter: BuildKit's words for what is wrong.
    """
    reader = _Reader(expand)
    for option in _options(text):
        reader.take(option)
    return reader.mount()


def mount_origin(text: str) -> str:
    """The `from` of a mount, which may hold no variable: what a stage needs is known before.

    Raises:
        InvalidParameter: it holds one, or the whole is no list of options.
    """
    origin = ""
    for option in _options(text):
        name, equals, value = option.partition("=")
        if equals and name.lower() == "from":
            if _VARIABLE.search(value):
                raise InvalidParameter(
                    "'from' doesn't support variable expansion, define alias stage instead"
                )
            origin = value
    return origin


def _options(text: str) -> list[str]:
    try:
        return next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise InvalidParameter(f"failed to parse csv mounts: {error}") from error


@dataclass(slots=True)
class _Reader:
    """Takes one option after the other. A later one of a name replaces the earlier."""

    expand: Expand
    type: MountType = MountType.BIND
    texts: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    sharing: Sharing | None = None
    is_read_only: bool | None = None
    is_required: bool = False

    def take(self, option: str) -> None:
        name, equals, raw = option.partition("=")
        written = name.lower()
        name = _SAME.get(written, written)
        if not equals and name not in ("readonly", "readwrite", "required"):
            raise InvalidParameter(f"invalid field '{option}' must be a key=value pair")
        value = self.expand(raw) if equals else "true"
        match name:
            case "type":
                self.type = self._type(value)
            case "from" | "source" | "target" | "id":
                self.texts[name] = value
            case "readonly":
                self.is_read_only = _truth(written, value)
            case "readwrite":
                self.is_read_only = not _truth(written, value)
            case "required":
                self._only_for(_ON_REQUEST, written)
                self.is_required = _truth(written, value)
            case "env":
                self._only_for({MountType.SECRET}, written)
                self.texts[name] = value
            case "size":
                self._only_for({MountType.TMPFS}, written)
                self.numbers[name] = _size(value)
            case "sharing":
                self.sharing = _sharing(value)
            case "mode":
                self.numbers[name] = _number(name, value, "[0-7]+", 8)
            case "uid" | "gid":
                self.numbers[name] = _number(name, value, "[0-9]+", 10)
            case _:
                raise InvalidParameter(f"unexpected key '{written}' in '{written}={value}'")

    def mount(self) -> RunMount:
        self._check()
        is_read_only = self.is_read_only
        if is_read_only is None:
            is_read_only = self.type not in (MountType.CACHE, MountType.TMPFS)
        return RunMount(
            type=self.type,
            target=self.texts.get("target", ""),
            source=self.texts.get("source", ""),
            origin=self.texts.get("from", ""),
            id=self.texts.get("id", ""),
            env=self.texts.get("env", ""),
            sharing=self.sharing or Sharing.SHARED,
            is_read_only=is_read_only,
            is_required=self.is_required,
            size_bytes=self.numbers.get("size", 0),
            mode=self.numbers.get("mode"),
            uid=self.numbers.get("uid"),
            gid=self.numbers.get("gid"),
        )

    def _check(self) -> None:
        for name in ("mode", "uid", "gid"):
            if name in self.numbers and self.type not in _WITH_OWNER:
                raise InvalidParameter(f'{name} not allowed for "{self.type.value}" type mounts')
        if self.type is MountType.SECRET:
            self._check_secret()
        if self.sharing is not None and self.type is not MountType.CACHE:
            raise InvalidParameter(f"invalid cache sharing set for {self.type.value} mount")

    def _check_secret(self) -> None:
        if self.texts.get("from"):
            raise InvalidParameter("secret mount should not have a from")
        if self.sharing is not None:
            raise InvalidParameter("secret mount should not define sharing")
        named = [name for name in ("source", "target", "id") if self.texts.get(name)]
        if not named:
            raise InvalidParameter("invalid secret mount. one of source, target required")
        if "source" in named and "id" in named:
            raise InvalidParameter("both source and id can't be set")

    def _only_for(self, types: set[MountType] | frozenset[MountType], name: str) -> None:
        """As far as the type was said before: as with BuildKit the order matters."""
        if self.type not in types:
            raise InvalidParameter(f"unexpected key '{name}' for mount type '{self.type.value}'")

    def _type(self, value: str) -> MountType:
        try:
            return MountType(value.lower())
        except ValueError:
            raise InvalidParameter(f'unsupported mount type "{value}"') from None


def _sharing(value: str) -> Sharing:
    try:
        return Sharing(value.lower())
    except ValueError:
        raise InvalidParameter(f'unsupported sharing value "{value}"') from None


def _truth(name: str, value: str) -> bool:
    if value not in _TRUE | _FALSE:
        raise InvalidParameter(f"invalid value for {name}: {value}")
    return value in _TRUE


def _number(name: str, value: str, digits: str, base: int) -> int:
    if not re.fullmatch(digits, value, re.ASCII) or len(value) > 20:
        raise InvalidParameter(f"invalid value {value} for {name}")
    number = int(value, base)
    if number > _MAX_NUMBER:
        raise InvalidParameter(f"invalid value {value} for {name}")
    return number


def _size(value: str) -> int:
    try:
        return size_bytes(value, base=1024)
    except ValueError:
        raise InvalidParameter(f"invalid value for size: {value}") from None
