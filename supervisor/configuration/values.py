"""How a flag's text becomes a value, by the rules of dockerd's flags (Go's pflag and go-units).

Every parser takes the text as it was given and raises ValueError with dockerd's sentence.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_INT = re.compile(r"[+-]?(0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO]?[0-7_]+|[1-9][0-9_]*|0)")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+) ?([kmgtp]?)(?:i?b)?", re.IGNORECASE)
_DOMAIN_PART = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?")
_ULIMITS = frozenset(
    {
        *("core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile"),
        *("nproc", "rss", "rtprio", "rttime", "sigpending", "stack"),
    }
)
_INT64 = range(-(2**63), 2**63)

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


def quoted(text: str) -> str:
    """`text` in double quotes, as Go's %q writes it for anything printable."""
    return json.dumps(text, ensure_ascii=False)


def parse_bool(text: str) -> bool:
    """Go's strconv.ParseBool: 1, t, true and their kin; nothing else."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f"strconv.ParseBool: parsing {quoted(text)}: invalid syntax")


def parse_int(text: str) -> int:
    """Go's strconv.ParseInt with base 0 and 64 bits: decimal, 0x, 0o, 0b, a leading 0 is octal."""
    match = _INT.fullmatch(text)
    if match is None or "__" in text or text.endswith("_"):
        raise ValueError(f"strconv.ParseInt: parsing {quoted(text)}: invalid syntax")
    digits = match[1]
    is_octal = re.fullmatch(r"0[0-7_]+", digits) is not None
    magnitude = int(digits.replace("_", ""), 8) if is_octal else int(digits, 0)
    value = -magnitude if text.startswith("-") else magnitude
    if value not in _INT64:
        raise ValueError(f"strconv.ParseInt: parsing {quoted(text)}: value out of range")
    return value


def parse_size_bytes(text: str) -> int:
    """`64m`, `1.5GiB`, `512 kB`, `4096` to bytes; every unit is a power of 1024 (go-units)."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"invalid size: '{text}'")
    number, unit = match.groups()
    factor = 1024 ** " kmgtp".index(unit.lower() or " ")
    # Whole numbers stay exact; a float would round them from 2**53 on.
    value = int(number) * factor if number.isdigit() else int(float(number) * factor)
    if value not in _INT64:
        raise ValueError(f"invalid size: '{text}'")
    return value


def parse_ip(text: str) -> IpAddress:
    """An IPv4 or IPv6 address."""
    try:
        return ipaddress.ip_address(text.strip())
    except ValueError:
        raise ValueError(f"{text} is not an ip address") from None


def parse_label(text: str) -> str:
    """`key=value`, kept as it is."""
    if "=" not in text:
        raise ValueError(f"bad attribute format: {text}")
    return text


def parse_domain(text: str) -> str:
    """A DNS search domain; `.` means none and becomes the empty string."""
    trimmed = text.strip()
    if trimmed == ".":
        return ""
    parts = trimmed.removesuffix(".").split(".")
    is_name = all(_DOMAIN_PART.fullmatch(part) for part in parts)
    if not is_name or len(trimmed) >= 255 or not re.search("[a-zA-Z]", trimmed):
        raise ValueError(f"{text} is not a valid domain")
    return trimmed


def parse_pair(text: str) -> tuple[str, str]:
    """`key=value`; without `=` the value is empty."""
    key, _, value = text.partition("=")
    return key, value


@dataclass(frozen=True, slots=True, kw_only=True)
class Ulimit:
    """A resource limit for containers; -1 is unlimited."""

    name: str  # as in ulimit's long names: nofile, nproc, ...
    soft: int
    hard: int

    def __post_init__(self) -> None:
        if self.name not in _ULIMITS:
            raise ValueError(f"invalid ulimit type: {self.name}")
        if self.hard != -1 and (self.soft == -1 or self.soft > self.hard):
            raise ValueError(
                "ulimit soft limit must be less than or equal to hard limit: "
                f"{self.soft} > {self.hard}"
            )


def parse_ulimit(text: str) -> Ulimit:
    """`name=soft[:hard]`; one number is both."""
    name, equals, limits = text.partition("=")
    if not equals:
        raise ValueError(f"invalid ulimit argument: {text}")
    numbers = limits.split(":")
    if len(numbers) > 2:
        raise ValueError(f"too many limit values - {limits}, can only have two - `soft[:hard]`")
    values = [parse_int(number) for number in numbers]
    return Ulimit(name=name, soft=values[0], hard=values[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressPool:
    """A block of addresses that new networks take subnets of `size` bits from."""

    base: IpNetwork
    size: int

    def __str__(self) -> str:
        return f"base={self.base},size={self.size}"


def parse_pool(text: str) -> AddressPool:
    """`base=10.0.0.0/8,size=24`. Source: moby, daemon/pkg/opts/address_pools.go."""
    fields: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        key = key.strip().lower()
        if not equals:
            raise ValueError(f"invalid field '{part}' must be a key=value pair")
        if key not in ("base", "size"):
            raise ValueError(f"unexpected key '{key}' in '{part}'")
        fields[key] = value.strip()
    try:
        size = int(fields.get("size", ""))
    except ValueError:
        raise ValueError(
            f"invalid size value: {quoted(fields.get('size', ''))} (must be integer)"
        ) from None
    return make_pool(fields.get("base", ""), size)


def make_pool(base: str, size: int) -> AddressPool:
    """A pool that subnets of this size fit in."""
    try:
        network = ipaddress.ip_network(base, strict=False)
    except ValueError:
        raise ValueError(f"invalid base prefix: {quoted(base)}") from None
    if "/" not in base:
        raise ValueError(f"invalid base prefix: {quoted(base)}")
    if network.prefixlen > size:
        raise ValueError(
            f"invalid pools provided: network ({base}) has a smaller prefix (/{network.prefixlen}) "
            f"than the target size of that pool (/{size})"
        )
    if size > network.max_prefixlen:
        raise ValueError(f"invalid pools provided: size {size} is too large for {base}")
    return AddressPool(base=network, size=size)


def parse_driver_option(text: str) -> tuple[str, str, str]:
    """`driver=option=value`. Source: moby, daemon/pkg/opts (MapMapOpts)."""
    driver, _, rest = text.partition("=")
    option, equals, value = rest.partition("=")
    if not driver or not option or not equals:
        raise ValueError(f"invalid value {quoted(text)}: must be driver=option=value")
    return driver, option, value


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """An OCI runtime that containers may ask for by name."""

    name: str
    path: str = ""  # a binary; empty when a containerd runtime type is named instead
    arguments: tuple[str, ...] = ()
    type: str = ""  # containerd's name of the shim, e.g. io.containerd.runc.v2
    options: Mapping[str, bool | int | str] = field(default_factory=lambda: MappingProxyType({}))


def parse_runtime(text: str) -> Runtime:
    """`name=path`."""
    name, equals, path = (part.strip() for part in text.partition("="))
    if not equals or not name or not path:
        raise ValueError(f"invalid runtime argument: {text}")
    if name == "runc":
        raise ValueError("runtime name 'runc' is reserved")
    return Runtime(name=name.lower(), path=path)
