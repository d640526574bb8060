"""How a member of etcd is started."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from services.cluster.etcd.command import MemberConfig, PeerTls, command_line

ALONE = MemberConfig(
    name="a",
    folder=Path("/swarm/etcd"),
    listen_host="0.0.0.0",
    peer_url="https://10.0.0.1:7946",
    tls=PeerTls(
        certificate=Path("/run/node.pem"), key=Path("/run/node.pem"),
        root_certificates=Path("/run/roots.pem"),
    ),
)  # fmt: skip


def options(config: MemberConfig) -> dict[str, str]:
    return dict(each.removeprefix("--").partition("=")[::2] for each in command_line(config)[1:])


def test_the_first_member_makes_a_new_cluster() -> None:
    """Of itself alone, at the port of its address, answering on its socket only."""
    found = options(ALONE)
    assert found["initial-cluster"] == "a=https://10.0.0.1:7946"
    assert found["initial-cluster-state"] == "new"
    assert found["listen-peer-urls"] == "https://0.0.0.0:7946"
    assert found["listen-client-urls"] == "unix://etcd.sock:0"
    assert "force-new-cluster" not in found


def test_peers_show_a_managers_certificate() -> None:
    """Both ways, and of whatever address."""
    found = options(ALONE)
    assert found["peer-cert-allowed-hostname"] == "swarm-manager"
    assert "peer-client-cert-auth" in found
    assert "experimental-peer-skip-client-san-verification" in found


def test_a_later_member_joins() -> None:
    """It is told who there is."""
    joins = {"a": "https://10.0.0.1:7946", "b": "https://10.0.0.2:7946"}
    found = options(replace(ALONE, name="b", joins=joins))
    assert found["initial-cluster"] == "a=https://10.0.0.1:7946,b=https://10.0.0.2:7946"
    assert found["initial-cluster-state"] == "existing"


def test_addresses_of_the_sixth_version_are_bracketed() -> None:
    """As URLs have them."""
    found = options(replace(ALONE, listen_host="::", peer_url="https://[fd00::1]:7946"))
    assert found["listen-peer-urls"] == "https://[::]:7946"


def test_a_cluster_can_be_made_of_what_is_left() -> None:
    """By a flag of etcd's."""
    assert "force-new-cluster" in options(replace(ALONE, forces_new=True))
