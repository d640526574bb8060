"""The options of networks of the bridge driver, read from their texts. Pure.

Source: moby, daemon/libnetwork/drivers/bridge/bridge_linux.go (networkConfiguration).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from services.errors import InvalidParameter
from services.networks import model

GATEWAY_MODES: Final = ("nat", "nat-unprotected", "routed", "isolated")
_TRUTHS: Final = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}
_LINK_NAME: Final = re.compile(r"[^\s/:]{1,15}\Z")
_NUMBER: Final = re.compile(r"[+-]?[0-9]+\Z", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeOptions:
    """What the user wants of a bridge. "" and 0 leave the choice to us."""

    name: str = ""
    icc: bool = True
    masquerade: bool = True
    host_binding: str = ""
    inhibit_ipv4: bool = False
    gateway_mode_ipv4: str = "nat"
    gateway_mode_ipv6: str = "nat"
    trusted_interfaces: tuple[str, ...] = ()
    host_ipv4: str = ""
    host_ipv6: str = ""
    mtu: int = 0
    interface_prefix: str = "eth"


def parse_bridge_options(options: Mapping[str, str]) -> BridgeOptions:
    """Read the options; those of other drivers are passed over.

    Raises:
        InvalidParameter: a value that is none; dockerd's text.
    """
    values: dict[str, Any] = {}
    for label, (field, parse) in _READERS.items():
        if label in options:
            try:
                values[field] = parse(options[label])
            except ValueError as error:
                raise InvalidParameter(
                    f"failed to parse {label} value: {options[label]} ({error})"
                ) from error
    return BridgeOptions(**values)


def parse_truth(text: str) -> bool:
    """A boolean in any of Go's spellings. Raises ValueError, with Go's words."""
    if text not in _TRUTHS:
        raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')
    return _TRUTHS[text]


def _number(text: str) -> int:
    if not _NUMBER.match(text):
        raise ValueError(f'strconv.Atoi: parsing "{text}": invalid syntax')
    number = int(text)
    if not 0 <= number <= 65535:
        raise ValueError(f"invalid MTU number: {number}")
    return number


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError("nil ip") from None


def _gateway_mode(text: str) -> str:
    if text not in GATEWAY_MODES:
        raise ValueError(f"unknown gateway mode {text}")
    return text


def _link_name(text: str) -> str:
    if text in (".", "..") or (text and not _LINK_NAME.match(text)):
        raise ValueError("a link has a name of 1 to 15 characters, without slashes and colons")
    return text


def _interface_prefix(text: str) -> str:
    if not _LINK_NAME.match(text) or len(text) > 12:
        raise ValueError("a link has a name of 1 to 15 characters, its number included")
    return text


_READERS: Final[Mapping[str, tuple[str, Callable[[str], object]]]] = {
    model.BRIDGE_NAME: ("name", _link_name),
    model.ENABLE_ICC: ("icc", parse_truth),
    model.ENABLE_MASQUERADE: ("masquerade", parse_truth),
    model.HOST_BINDING: ("host_binding", _address),
    model.INHIBIT_IPV4: ("inhibit_ipv4", parse_truth),
    model.GATEWAY_MODE_IPV4: ("gateway_mode_ipv4", _gateway_mode),
    model.GATEWAY_MODE_IPV6: ("gateway_mode_ipv6", _gateway_mode),
    model.TRUSTED_INTERFACES: (
        "trusted_interfaces",
        lambda text: tuple(name for name in text.split(":") if name),
    ),
    model.HOST_IPV4: ("host_ipv4", _address),
    model.HOST_IPV6: ("host_ipv6", _address),
    model.MTU: ("mtu", _number),
    model.INTERFACE_PREFIX: ("interface_prefix", _interface_prefix),
}
