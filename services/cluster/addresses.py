"""Which addresses a node has for its peers: as asked for, or found out, in dockerd's words.

Source: moby, daemon/cluster/listen_addr.go.
"""

from __future__ import annotations

import ipaddress
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from services.errors import EngineError, InvalidParameter

# Peers of etcd find each other on the port beside the swarm port that its firewalls let through:
# 7946, swarm's own for gossip between nodes, for 2377.
PEER_PORT_OFFSET: Final = 7946 - 2377


_LISTEN: Final = (
    "listen address must be an IP address or network interface (with optional port number)"
)
_ADVERTISE: Final = (
    "advertise address must be a non-zero IP address or network interface (with optional port "
    "number)"
)
_DATA_PATH: Final = (
    "data path address must be a non-zero IP address or network interface (without a port number)"
)


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    """One of the host's addresses, bare, and what it is on."""

    interface: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """What was decided. `listen` and `advertise` are host:port, `data_path` is bare."""

    listen: str
    advertise: str
    data_path: str


def split_host(text: str, default_port: int) -> tuple[str, int]:
    """Host and port of "host", "host:port", "[host]:port" or ":port"; the host is bare."""
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")):
        host, port = text, ""
    if port and not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise InvalidParameter(f"invalid port in {text}")
    return host.removeprefix("[").removesuffix("]"), int(port) if port else default_port


def joined(host: str, port: int) -> str:
    """host:port, in brackets where that is needed."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def peer_url(state_advertise: str, listen: str) -> str:
    """Where other managers find this one's etcd."""
    host, _ = split_host(state_advertise, 0)
    _, port = split_host(listen, 0)
    return f"https://{joined(host, peer_port(port))}"


def peer_port(swarm_port: int) -> int:
    """etcd's, by the swarm port's. From 60,000 on the range wraps downwards."""
    port = swarm_port + PEER_PORT_OFFSET
    return port if port < 65536 else swarm_port - PEER_PORT_OFFSET


def decide(
    *,
    listen: str,
    advertise: str,
    data_path: str,
    present: Sequence[InterfaceAddress],
    towards: str = "",
) -> Addresses:
    """`present` are the host's addresses; `towards` is the one from which a remote is reached.

    Raises:
        InvalidParameter: an address cannot be meant, or an interface is not there.
        EngineError: which address to advertise cannot be told.
    """
    listen_host, listen_port = split_host(listen, 2377)
    listen_host = _resolved(listen_host or "0.0.0.0", present, _LISTEN)  # noqa: S104
    if advertise:
        host, port = split_host(advertise, listen_port)
        host = _resolved_not_zero(host, present, _ADVERTISE)
    else:
        host, port = _guessed(listen_host, present, towards), listen_port
    return Addresses(
        listen=joined(listen_host, listen_port),
        advertise=joined(host, port),
        data_path=_resolved_not_zero(data_path, present, _DATA_PATH) if data_path else host,
    )


def _resolved_not_zero(host: str, present: Sequence[InterfaceAddress], refusal: str) -> str:
    """As `_resolved`, but not every address at once."""
    found = _resolved(host, present, refusal)
    if ipaddress.ip_address(found).is_unspecified:
        raise InvalidParameter(refusal)
    return found


def _resolved(host: str, present: Sequence[InterfaceAddress], refusal: str) -> str:
    """A bare address, of an interface's name too. Raises InvalidParameter with `refusal`."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    found = [each.address for each in present if each.interface == host]
    of_four = [address for address in found if ":" not in address]
    if not found:
        raise InvalidParameter(refusal)
    if len(of_four) > 1:
        raise InvalidParameter(
            f"interface {host} has more than one IPv4 address ({of_four[0]} and {of_four[1]})"
        )
    return of_four[0] if of_four else found[0]


def _guessed(listen_host: str, present: Sequence[InterfaceAddress], towards: str) -> str:
    """The address that was listened on, the one that leads to a remote, or the only one.

    The docker CLI goes on from these refusals: " - specify one with --advertise-addr".
    """
    if not ipaddress.ip_address(listen_host).is_unspecified:
        return listen_host
    if towards:
        return towards
    candidates = [each for each in present if _is_candidate(each)]
    of_four = [each for each in candidates if ":" not in each.address]
    candidates = of_four or candidates
    if not candidates:
        raise EngineError("could not find the system's IP address")
    first, *others = candidates
    if not others:
        return first.address
    other = others[0]
    if first.interface == other.interface:
        raise EngineError(
            f"could not choose an IP address to advertise since this system has multiple addresses "
            f"on interface {first.interface} ({first.address} and {other.address})"
        )
    raise EngineError(
        f"could not choose an IP address to advertise since this system has multiple addresses on "
        f"different interfaces ({first.address} on {first.interface} and {other.address} on "
        f"{other.interface})"
    )


def _is_candidate(each: InterfaceAddress) -> bool:
    """Not of loopback, and not one that engines give their own bridges."""
    address = ipaddress.ip_address(each.address)
    own = each.interface.startswith(("docker", "br-", "veth", "wf"))
    return not (address.is_loopback or address.is_link_local or own)


def present_addresses() -> list[InterfaceAddress]:
    """The host's, in the order of its interfaces. Blocks for a moment."""
    told = subprocess.run(["ip", "-j", "address", "show"], capture_output=True, check=True)
    return [
        InterfaceAddress(link["ifname"], each["local"])
        for link in msgspec.json.decode(told.stdout)
        if "ifname" in link
        for each in link.get("addr_info", ())
        if "local" in each
    ]


def address_towards(host: str) -> str:
    """Which of ours the kernel sends from to a remote; "" where it knows no way. Sends nothing."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, 9))
            address: str = probe.getsockname()[0]
        except OSError:
            return ""
        return address
