"""Two nodes and the wire between them, each in a network namespace of its own, with overlays."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace

from services.networks.drivers.overlay import make_overlay, sync_neighbours, unmake_overlay
from services.networks.endpoints import Endpoint, Gateways, mac_of
from services.networks.kernel.netns import drop_namespace, in_namespace, make_namespace
from services.networks.model import Network, Subnet, Underlay
from services.networks.overlay.values import (
    Neighbour,
    encrypted_port,
    overlay_mtu,
    wants_encryption,
)
from services.networks.sandboxes.attach import Attachment, attach_all

PORT = 4789

T = TypeVar("T")


@dataclass(slots=True)
class OverlayNode:
    """A host: its namespace, and those of its networks and containers below `folder`."""

    name: str
    folder: Path
    address: str
    containers: dict[str, str] = field(default_factory=dict)

    @property
    def netns(self) -> Path:
        """The host's own namespace."""
        return self.folder / "host"

    @property
    def overlays(self) -> Path:
        """Where the networks' namespaces are held."""
        return self.folder / "overlays"

    def do(self, call: Callable[[], T]) -> T:
        """Call something as this host."""
        return in_namespace(self.netns, call)

    def make(self, network: Network) -> Network:
        """Have a network here; as this node knows it."""
        network = network_at(network, self.address)
        self.do(lambda: make_overlay(network, self.overlays))
        return network

    def tell(self, network: Network, *neighbours: Neighbour) -> int:
        """Who is on other nodes; how many entries that changed."""
        return self.do(lambda: sync_neighbours(network, self.overlays, neighbours))

    def unmake(self, network: Network) -> None:
        """Have a network no more."""
        self.do(lambda: unmake_overlay(network, self.overlays))

    def start(self, name: str, network: Network, address: str) -> None:
        """A container with this address in a network."""
        endpoint = Endpoint(
            network=network.name,
            network_id=network.id,
            endpoint_id=secrets.token_hex(32),
            driver="overlay",
            address=address,
            prefix_length=24,
            mac_address=mac_of(IPv4Address(address)),
            interface="eth0",
        )
        attachment = Attachment(
            endpoint=endpoint,
            network=network,
            mtu=overlay_mtu(network.options),
            overlay=self.overlays / network.id,
        )

        def attach() -> None:
            with make_namespace(self.folder / name) as inside:
                attach_all(inside, [attachment], Gateways())

        self.do(attach)
        self.containers[name] = address

    def inside(self, name: str, *command: str, ok: bool = True) -> str:
        """What a command says in a container, or `host`."""
        return run_in(self.folder / name, *command, ok=ok)

    def pings(self, name: str, address: str, *, size: int = 56, wait_s: int = 10) -> bool:
        """Whether one packet comes back."""
        command = ("busybox", "ping", "-c1", f"-W{wait_s}", f"-s{size}", address)
        return " 0% packet loss" in self.inside(name, *command, ok=False)

    def neighbour(self, name: str) -> Neighbour:
        """A container of this node as others know it."""
        address = self.containers[name]
        return Neighbour(address=address, mac=mac_of(IPv4Address(address)), node=self.address)


def run_in(netns: Path, *command: str, ok: bool = True, text: str | None = None) -> str:
    """What a command says in a namespace."""
    done = subprocess.run(
        ["nsenter", f"--net={netns}", *command],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not ok or done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def overlay_network(
    name: str = "ov",
    *,
    third: int = 7,
    vxlan_id: int = 0,
    internal: bool = False,
    encrypted: bool = False,
) -> Network:
    """A network of the cluster that no node knows yet; 10.99.`third`.0/24.

    Without a VXLAN id it has one that (most likely) nobody on the host has, or had just now.
    """
    subnet = Subnet(
        subnet=f"10.99.{third}.0/24",
        gateway=f"10.99.{third}.1",
        vxlan_id=vxlan_id or 4096 + secrets.randbelow(1 << 20),
    )
    return Network(
        id=secrets.token_hex(12),
        name=name,
        driver="overlay",
        scope="swarm",
        subnets=[subnet],
        internal=internal,
        options={"encrypted": ""} if encrypted else {},
    )


def network_at(network: Network, address: str) -> Network:
    """A network as the node with this address has it."""
    port = encrypted_port(PORT) if wants_encryption(network.options) else PORT
    return replace(network, underlay=Underlay(address=address, port=port))


@contextmanager
def two_nodes(folder: Path) -> Iterator[tuple[OverlayNode, OverlayNode]]:
    """10.98.0.1 and 10.98.0.2, joined by a pair of links."""
    first = OverlayNode("first", folder / "first", "10.98.0.1")
    second = OverlayNode("second", folder / "second", "10.98.0.2")
    nodes = (first, second)
    try:
        for node in nodes:
            make_namespace(node.netns).close()
        run_in(
            first.netns, "ip", "link", "add", "wire", "type", "veth", "peer", "name", "wire",
            "netns", str(second.netns),
        )  # fmt: skip
        for node in nodes:
            run_in(node.netns, "ip", "addr", "add", f"{node.address}/24", "dev", "wire")
            for link in ("wire", "lo"):
                run_in(node.netns, "ip", "link", "set", link, "up")
        yield nodes
    finally:
        for path in (*folder.glob("*/overlays/*"), *folder.glob("*/*")):
            if path.is_file():
                drop_namespace(path)
