"""A node with a firewall of its own, and another one on a wire; its containers answer."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_network
from pathlib import Path

import trio

from services.cluster.network.node_network import NodeNetwork
from services.events import MIGRATION as EVENTS
from services.events import EventBus
from services.networks import (
    MIGRATION,
    EndpointRequest,
    Firewall,
    HostSwitches,
    Networks,
    Pool,
    PortMeans,
    Publishing,
    Sandbox,
    Sandboxes,
)
from services.networks.dns import NameBook
from services.networks.kernel.netns import drop_namespace, make_namespace
from services.networks.nft.helper import HelperLost
from services.store import Store
from tests.services.networks.nodes import OverlayNode, run_in
from tests.services.networks.scene import delete_links, host_links, own_prefix

STALE = "stale"


class NodeScene:
    """What one engine has; it is on the machine's own network, under names of its own."""

    def __init__(self, folder: Path, prefix: str, link: str, *, is_ending: bool = False) -> None:
        self.folder = folder
        self.store = Store(folder / "state.db", [EVENTS, MIGRATION])
        self.bus = EventBus(self.store)
        self.firewall = Firewall(table=f"wf-{link}", is_ending=lambda: is_ending)
        self.networks = Networks(
            store=self.store,
            events=self.bus,
            bridge=None,
            firewall=self.firewall,
            engine_id="engine",
            pools=lambda: [Pool(ip_network(f"{prefix}.0.0/16"), 24)],
            switches=HostSwitches(),
            overlays=folder / "overlays",
            is_ending=lambda: is_ending,
        )
        self.publishing = publishing = Publishing(
            firewall=self.firewall, proxy=None, means=PortMeans(has_firewall=True)
        )
        self.sandboxes = Sandboxes(
            self.networks,
            publishing=publishing,
            netns_directory=folder / "netns",
            overlays=folder / "overlays",
            ingress_record=folder / "ingress.json",
        )
        self.names = NameBook()
        self.node = NodeNetwork(
            networks=self.networks,
            sandboxes=self.sandboxes,
            publisher=publishing,
            names=self.names,
            overlays=folder / "overlays",
            record=folder / "ingress.json",
            gateway_link=link,
            is_ending=lambda: is_ending,
        )

    async def start(self, container_id: str, network: str, address: str) -> Sandbox:
        """A container with this address."""
        request = EndpointRequest(network=network, address=address, is_given=True)
        sandbox = await self.sandboxes.reserve(container_id, [request])
        await self.sandboxes.connect(sandbox)
        return sandbox

    def netns(self, container_id: str) -> Path:
        """Where a container is."""
        return self.folder / "netns" / container_id

    def pings(self, container_id: str, address: str) -> bool:
        """Whether a packet comes back."""
        path = self.netns(container_id)
        command = ("busybox", "ping", "-c1", "-W2", address)
        return " 0% packet loss" in run_in(path, *command, ok=False)


class Wire:
    """The other node, and the names and addresses of this one."""

    def __init__(self, folder: Path) -> None:
        token = secrets.token_hex(3)
        self.folder = folder
        self.link = f"wg{token}"
        self.wire = f"ww{token}"
        self.prefix = own_prefix()
        third = self.prefix.partition(".")[2]  # nobody else's either
        self.here, self.there = f"10.98.{third}.1", f"10.98.{third}.2"
        self.other = OverlayNode("other", folder / "other", self.there)

    def lay(self) -> None:
        """Make the other node and the wire to it."""
        make_namespace(self.other.netns).close()
        _run(
            "ip", "link", "add", self.wire, "type", "veth", "peer", "name", "wire", "netns",
            str(self.other.netns),
        )  # fmt: skip
        _run("ip", "addr", "add", f"{self.here}/24", "dev", self.wire)
        _run("ip", "link", "set", self.wire, "up")
        run_in(self.other.netns, "ip", "addr", "add", f"{self.there}/24", "dev", "wire")
        for link in ("wire", "lo"):
            run_in(self.other.netns, "ip", "link", "set", link, "up")

    def clear(self) -> None:
        """Nothing of it stays on the machine."""
        engine = self.folder / "engine"
        for path in (
            *engine.glob("netns/*"),
            *engine.glob("overlays/*"),
            *self.other.folder.glob("overlays/*"),
            *self.other.folder.glob("*"),
        ):
            if path.is_file():
                drop_namespace(path)
        delete_links([name for name in host_links() if name in (self.link, self.wire)])
        subprocess.run(
            ["nft", "delete", "table", "inet", f"wf-{self.link}"], check=False, capture_output=True
        )

    @staticmethod
    async def _table_written(table: str) -> None:
        """Until the firewall has written its table anew: without what was in it before."""
        with trio.fail_after(60):
            while True:
                command = ["nft", "list", "chain", "inet", table, STALE]
                if subprocess.run(command, check=False, capture_output=True).returncode:
                    return
                await trio.sleep(0.02)

    @asynccontextmanager
    async def running(self, *, is_ending: bool = False) -> AsyncIterator[NodeScene]:
        """The engine of this node, left as a kill leaves it, or an end if `is_ending`."""
        folder = self.folder / "engine"
        folder.mkdir(exist_ok=True)
        scene = NodeScene(folder, self.prefix, self.link, is_ending=is_ending)
        async with trio.open_nursery() as below:
            for part in (scene.store, scene.bus, scene.firewall, scene.networks):
                await below.start(part.run)
            await scene.networks.load()
            await scene.sandboxes.adopt_ingress()
            _run("nft", "add", "table", "inet", scene.firewall.table)
            _run("nft", "add", "chain", "inet", scene.firewall.table, STALE)
            scene.sandboxes.settle()
            await self._table_written(scene.firewall.table)
            async with trio.open_nursery() as nursery:
                await nursery.start(_supervised, scene.node)
                yield scene
                nursery.cancel_scope.cancel()
            below.cancel_scope.cancel()
        scene.publishing._reservations.close()  # a killed process holds no sockets


async def _supervised(
    node: NodeNetwork, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Begin it anew when its helper has died."""
    with suppress(HelperLost):
        await node.run(task_status=task_status)
    while True:
        with suppress(HelperLost):
            await node.run()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
