"""How the cluster's values are spelled in JSON, on the API and in the store alike."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Final

import msgspec

from services.containers.config import docker_name

_IRREGULAR: Final = {
    "tty": "TTY", "secret_id": "SecretID", "config_id": "ConfigID", "uid": "UID", "gid": "GID",
    "external_cas": "ExternalCAs", "url": "URL", "ca_cert": "CACert", "ca_config": "CAConfig",
    "signing_ca_cert": "SigningCACert", "signing_ca_key": "SigningCAKey", "os": "OS",
    "nano_cpus": "NanoCPUs", "dns_config": "DNSConfig", "selinux_context": "SELinuxContext",
    "tls_info": "TLSInfo", "service_id": "ServiceID", "node_id": "NodeID", "pid": "PID",
    "virtual_ips": "VirtualIPs", "container_id": "ContainerID", "ipv6": "EnableIPv6",
    "ipv4": "EnableIPv4", "app_armor": "AppArmor",
}  # fmt: skip

_ALPHABET: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
ID_LENGTH: Final = 25


def cluster_name(attribute: str) -> str:
    """The Engine API's spelling of one of our attribute names."""
    return _IRREGULAR.get(attribute) or docker_name(attribute)


class Wire(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename=cluster_name, gc=False
):
    """A value with Docker's JSON names. What is unset is left out, as dockerd leaves it out.

    The garbage collector need not know of values: none can be part of a cycle, and a manager holds
    hundreds of thousands of them.
    """


def new_id() -> str:
    """An identifier of swarm's shape: 25 characters of base 36, 129 random bits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(ID_LENGTH))


def utc_now() -> datetime:
    """The present instant, aware."""
    return datetime.now(UTC)
