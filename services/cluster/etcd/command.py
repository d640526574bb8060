"""How our member of etcd is started: a pure function from what it is to its command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

# Writes resume 0.5 to 0.8 s after the leader's end; a processor that is taken away for less than
# this costs no election.
ELECTION_MS: Final = 500
HEARTBEAT_MS: Final = 50

# What a mirror that was away may ask for; etcd looks every five minutes.
HISTORY_REVISIONS: Final = 50_000

MANAGER_HOSTNAME: Final = "swarm-manager"
"""A name in each manager's certificate: who has no such certificate is no peer."""

MAX_TXN_OPS: Final = 2_500
"""Conditions or writes of a transaction, each; etcd's own bound is 128."""

SOCKET_NAME: Final = "etcd.sock:0"
"""etcd takes what stands where a URL has host and port, and that needs a port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerTls:
    """Files in PEM. etcd reads the first two anew for each connection, the last one once."""

    certificate: Path
    key: Path
    root_certificates: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberConfig:
    """One member. `folder` is its own, mode 0700; its socket and its data are in it.

    `joins`: the peers of a cluster that there is, by name, this one's among them; empty for the
    first member of a new one. It matters on the first start only. `forces_new`: forget all other
    members and go on with what this one has.
    """

    name: str
    folder: Path
    listen_host: str  # for peers
    peer_url: str  # where peers find us
    tls: PeerTls | None  # None is for tests on loopback
    joins: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    forces_new: bool = False
    binary: str = "etcd"

    @property
    def socket(self) -> Path:
        """Where it answers us, and nobody else."""
        return self.folder / SOCKET_NAME

    @property
    def data(self) -> Path:
        """What it has written."""
        return self.folder / "data"


def command_line(config: MemberConfig) -> list[str]:
    """The arguments, binary first, for a process whose working directory is `config.folder`."""
    port = config.peer_url.rpartition(":")[2]
    scheme = config.peer_url.partition(":")[0]
    peers = config.joins or {config.name: config.peer_url}
    options = {
        "name": config.name,
        "data-dir": "data",
        "listen-client-urls": f"unix://{SOCKET_NAME}",
        "advertise-client-urls": f"unix://{SOCKET_NAME}",
        "listen-peer-urls": f"{scheme}://{_bracketed(config.listen_host)}:{port}",
        "initial-advertise-peer-urls": config.peer_url,
        "initial-cluster": ",".join(f"{name}={url}" for name, url in sorted(peers.items())),
        "initial-cluster-state": "existing" if config.joins else "new",
        "election-timeout": str(ELECTION_MS),
        "heartbeat-interval": str(HEARTBEAT_MS),
        "snapshot-count": "10000",
        "max-txn-ops": str(MAX_TXN_OPS),
        "auto-compaction-mode": "revision",
        "auto-compaction-retention": str(HISTORY_REVISIONS),
        "log-level": "warn",
        "logger": "zap",
        "log-outputs": "stderr",
    }
    # A third member is else refused for 5 s after the second.
    flags = ["--pre-vote", "--strict-reconfig-check=false"]
    if config.forces_new:
        flags.append("--force-new-cluster")
    if config.tls is not None:
        options |= {
            "peer-cert-file": str(config.tls.certificate),
            "peer-key-file": str(config.tls.key),
            "peer-trusted-ca-file": str(config.tls.root_certificates),
            "peer-cert-allowed-hostname": MANAGER_HOSTNAME,
        }
        # A manager behind address translation comes from elsewhere than its certificate says.
        flags += ["--peer-client-cert-auth", "--experimental-peer-skip-client-san-verification"]
    return [config.binary, *(f"--{name}={value}" for name, value in options.items()), *flags]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
