"""What `docker swarm` asks a node, checked as far as that needs no look at the machine.

Source: Engine API, SwarmInit, SwarmJoin, SwarmUnlock; moby, daemon/cluster (swarm.go,
listen_addr.go), whose texts these are.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

import msgspec
from msgspec.structs import replace

from services.cluster.control.refusals import invalid
from services.cluster.model.swarm_spec import CaConfig, Raft, SwarmSpec
from services.cluster.model.wire import Wire
from services.errors import InvalidParameter, NotSupported

DEFAULT_HOST: Final = "0.0.0.0"  # noqa: S104  # what dockerd listens on too
DEFAULT_PORT: Final = 2377
DATA_PATH_PORTS: Final = range(1024, 49152)
DEFAULT_DATA_PATH_PORT: Final = 4789
SUBNET_SIZE_MAX: Final = 29
MIN_CERT_EXPIRY_NS: Final = 3_600_000_000_000
AVAILABILITIES: Final = ("active", "pause", "drain")


class InitRequest(Wire, frozen=True, kw_only=True):
    """The body of POST /swarm/init. An address may be an interface's name, with or without port."""

    listen_addr: str = ""
    advertise_addr: str = ""
    data_path_addr: str = ""
    data_path_port: int = 0
    default_addr_pool: list[str] = []
    subnet_size: int = 0
    force_new_cluster: bool = False
    spec: SwarmSpec = SwarmSpec()
    auto_lock_managers: bool = False
    availability: str = ""


class JoinRequest(Wire, frozen=True, kw_only=True):
    """The body of POST /swarm/join."""

    listen_addr: str = ""
    advertise_addr: str = ""
    data_path_addr: str = ""
    remote_addrs: list[str] = []
    join_token: str = ""
    availability: str = ""


class UnlockRequest(Wire, frozen=True, kw_only=True):
    """The body of POST /swarm/unlock."""

    unlock_key: str = ""


class NodeUpdate(Wire, frozen=True, kw_only=True):
    """The body of POST /nodes/{id}/update: of what is left out nothing is assumed."""

    name: str = ""
    labels: dict[str, str] = {}
    role: str = ""
    availability: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotations:
    """What `docker swarm update` and its kin are to replace."""

    worker_token: bool = False
    manager_token: bool = False
    unlock_key: bool = False


def checked_init(request: InitRequest) -> InitRequest:
    """The request with what it leaves open filled in: port, spec, pools, data path's port.

    Raises:
        InvalidParameter: it cannot be meant.
    """
    if request.data_path_port and request.data_path_port not in DATA_PATH_PORTS:
        raise InvalidParameter(
            f"invalid dataport number ({request.data_path_port}), valid range is between "
            f"{DATA_PATH_PORTS[0]} and {DATA_PATH_PORTS[-1]}"
        )
    subnet_size = request.subnet_size or 24
    _check_pools(request.default_addr_pool, subnet_size)
    spec = request.spec
    if request.auto_lock_managers:
        encryption = replace(spec.encryption_config, auto_lock_managers=True)
        spec = replace(spec, encryption_config=encryption)
    return replace(
        request,
        listen_addr=host_and_port(request.listen_addr, "ListenAddr"),
        data_path_port=request.data_path_port or DEFAULT_DATA_PATH_PORT,
        subnet_size=subnet_size,
        availability=_availability(request.availability),
        spec=checked_spec(spec),
    )


def checked_join(request: JoinRequest) -> JoinRequest:
    """The request with ports filled in.

    Raises:
        InvalidParameter: it cannot be meant.
    """
    if not request.remote_addrs:
        raise InvalidParameter("at least 1 RemoteAddr is required to join")
    return replace(
        request,
        listen_addr=host_and_port(request.listen_addr, "ListenAddr"),
        remote_addrs=[host_and_port(addr, "remoteAddr") for addr in request.remote_addrs],
        availability=_availability(request.availability),
    )


def checked_spec(spec: SwarmSpec) -> SwarmSpec:
    """A spec as it is stored: zeros mean the defaults, as in swarmkit; no signing key is kept.

    Raises:
        InvalidParameter: another name than "default", or a span that cannot be meant.
        NotSupported: it names an authority elsewhere.
    """
    if spec.name not in ("", "default"):
        raise InvalidParameter('swarm spec must be named "default"')
    if spec.ca_config.external_cas:
        raise NotSupported("external certificate authorities are not supported")
    if spec.dispatcher.heartbeat_period < 0:
        raise invalid("heartbeat time period cannot be a negative duration")
    expiry = spec.ca_config.node_cert_expiry or CaConfig().node_cert_expiry
    if expiry < MIN_CERT_EXPIRY_NS:
        raise invalid("minimum certificate expiry time is: 1h0m0s")
    heartbeat = spec.dispatcher.heartbeat_period or type(spec.dispatcher)().heartbeat_period
    return replace(
        spec,
        name="default",
        raft=_filled(spec.raft),
        dispatcher=replace(spec.dispatcher, heartbeat_period=heartbeat),
        ca_config=replace(
            spec.ca_config, node_cert_expiry=expiry, signing_ca_cert="", signing_ca_key=""
        ),
    )


def _filled(raft: Raft) -> Raft:
    default = Raft()
    values = {
        field.name: getattr(raft, field.name) or getattr(default, field.name)
        for field in msgspec.structs.fields(Raft)
    }
    return Raft(**values)


def host_and_port(text: str, name: str) -> str:
    """An address with a port: "host:port", from ":port", "host", "tcp://host:port" as well.

    Raises:
        InvalidParameter: it is empty, or its port is none.
    """
    if not text:
        raise InvalidParameter(f'invalid {name} "": invalid empty address')
    bare = text.removeprefix("tcp://").rstrip("/")
    if bare.count(":") > 1 and not bare.startswith("["):
        return f"[{bare}]:{DEFAULT_PORT}"  # an IPv6 address by itself
    host, _, port = bare.rpartition(":") if not bare.endswith("]") else (bare, "", "")
    if ":" not in bare:
        host, port = bare, ""
    if port and not (port.isascii() and port.isdigit() and int(port) < 2**16):
        raise InvalidParameter(f'invalid {name} "{text}": Invalid bind address format: {text}')
    return f"{host or DEFAULT_HOST}:{port or DEFAULT_PORT}"


def _check_pools(pools: list[str], size: int) -> None:
    if size > SUBNET_SIZE_MAX:
        raise InvalidParameter(f"subnet size is out of range: {size}")
    seen: list[IPv4Network | IPv6Network] = []
    for text in pools:
        try:
            pool = ip_network(text, strict=False)
        except ValueError as error:
            raise InvalidParameter(f"invalid base pool {text}: invalid CIDR address") from error
        if size < pool.prefixlen:
            raise InvalidParameter(
                f'invalid CIDR: "{text}". Subnet size is too small for pool: {size}'
            )
        overlap = next((one for one in seen if _overlap(one, pool)), None)
        if overlap is not None:
            raise InvalidParameter(f"invalid base pool {text}: overlaps with {overlap}")
        seen.append(pool)


def _overlap(one: IPv4Network | IPv6Network, other: IPv4Network | IPv6Network) -> bool:
    if isinstance(one, IPv4Network) and isinstance(other, IPv4Network):
        return one.overlaps(other)
    if isinstance(one, IPv6Network) and isinstance(other, IPv6Network):
        return one.overlaps(other)
    return False


def _availability(text: str) -> str:
    if text.lower() not in ("", *AVAILABILITIES):
        raise InvalidParameter(f'invalid Availability: "{text}"')
    return text.lower() or "active"
