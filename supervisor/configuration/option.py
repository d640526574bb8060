"""One option of the daemon: its flag, key, kind and default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from .values import AddressPool, IpAddress, Runtime, Ulimit

Value = (
    bool
    | int
    | str
    | IpAddress
    | tuple[str, ...]
    | tuple[Ulimit, ...]
    | tuple[Runtime, ...]
    | tuple[AddressPool, ...]
    | tuple[tuple[str, str], ...]
    | tuple[tuple[str, str, str], ...]
    | None
)


class Kind(Enum):
    """What an option's value is; up to the colon it is the word that `--help` shows for it."""

    STRING = "string"
    LIST = "list"
    LABELS = "list:labels"
    DOMAINS = "list:domains"
    IPS = "list:addresses"
    HOSTS = "list:hosts"
    INT = "int"
    BOOL = ""
    BYTES = "bytes"
    IP = "ip"
    MAP = "map"
    MAPMAP = "mapmap"
    ULIMITS = "ulimit"
    RUNTIMES = "runtime"
    POOLS = "pool-options"
    NRI = "nri-opts"
    SCOPES = "json"

    @property
    def word(self) -> str:
        """The kind as dockerd's `--help` names it."""
        return self.value.partition(":")[0]

    @property
    def is_repeatable(self) -> bool:
        """Whether the flag may be given several times, each adding to the value."""
        return self not in {Kind.STRING, Kind.INT, Kind.BOOL, Kind.BYTES, Kind.IP}


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option: dockerd's, or with `is_ours` one that dockerd does not have."""

    flag: str  # without the dashes
    kind: Kind
    help: str
    short: str = ""
    key: str = ""  # in daemon.json; empty: a flag only
    default: Value = None
    refused: str = ""  # why it cannot take effect yet; empty: it works
    is_ours: bool = False  # dockerd has no such option


def table(*rows: Option) -> Mapping[str, Option]:
    """Options by flag, in their order."""
    return MappingProxyType({row.flag: row for row in rows})


def option(
    flag: str,
    kind: Kind,
    help_text: str,
    *,
    default: Value = None,
    short: str = "",
    key: str | None = None,
    refused: str = "",
    is_ours: bool = False,
) -> Option:
    """An option whose key is its flag, and whose default is its kind's, unless they are given."""
    if default is None:
        match kind:
            case Kind.STRING:
                default = ""
            case Kind.INT:
                default = 0
            case Kind.BOOL:
                default = False
            case Kind.IP:
                pass
            case _:
                default = ()
    return Option(
        flag=flag,
        kind=kind,
        help=help_text,
        short=short,
        key=flag if key is None else key,
        default=default,
        refused=refused,
        is_ours=is_ours,
    )
