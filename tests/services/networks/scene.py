"""Networks and sandboxes on the real kernel, with a store of their own."""

from __future__ import annotations

import json
import os
import secrets
import socket
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import msgspec
import trio

from services.events import MIGRATION as EVENTS
from services.events import Event, EventBus
from services.networks import (
    MIGRATION,
    BridgeConfig,
    EndpointRequest,
    NetworkRequest,
    Networks,
    Pool,
    PortMeans,
    Publishing,
    Sandbox,
    Sandboxes,
)
from services.networks.drivers.bridge import HostSwitches
from services.networks.kernel.netns import drop_namespace, enter_namespace
from services.networks.model import Network
from services.store import Store


class Scene:
    """What one engine has of networks. Its bridges and subnets are (most likely) nobody else's."""

    def __init__(self, folder: Path, prefix: str, bridge: BridgeConfig | None) -> None:
        self.folder, self.prefix = folder, prefix
        self.store = Store(folder / "state.db", [EVENTS, MIGRATION])
        self.bus = EventBus(self.store)
        self.networks = Networks(
            store=self.store,
            events=self.bus,
            bridge=bridge,
            firewall=None,
            engine_id="engine",
            pools=lambda: [Pool(ip_network(f"{prefix}.0.0/16"), 24)],
            switches=HostSwitches(forwards=False, local_routes=False),
            overlays=folder / "overlays",
        )
        self.sandboxes = Sandboxes(
            self.networks,
            publishing=Publishing(firewall=None, proxy=None, means=PortMeans()),
            netns_directory=folder / "netns",
            overlays=folder / "overlays",
        )

    async def create(self, name: str = "n", **fields: Any) -> Network:
        """Make a network."""
        return await self.networks.create(NetworkRequest(name=name, **fields))

    async def start(self, container_id: str, *networks: str | EndpointRequest) -> Sandbox:
        """Give a container what it gets at its start."""
        requests = [
            EndpointRequest(network=one) if isinstance(one, str) else one for one in networks
        ]
        sandbox = await self.sandboxes.reserve(container_id, requests)
        await self.sandboxes.connect(sandbox)
        return sandbox

    def inside(self, container_id: str, *command: str, ok: bool = True) -> str:
        """What a command says in a container's namespace."""
        netns = f"--net={self.folder / 'netns' / container_id}"
        done = subprocess.run(
            ["nsenter", netns, *command], capture_output=True, text=True, check=False
        )
        assert not ok or done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def links(self, container_id: str) -> dict[str, list[str]]:
        """A container's links, each with its addresses but those that the kernel gives."""
        found = json.loads(self.inside(container_id, "ip", "-j", "addr"))
        return {
            link["ifname"]: [
                f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a["scope"] != "link"
            ]
            for link in found
            if link["ifname"] != "lo"
        }

    def route(self, container_id: str, version: int = 4) -> str:
        """A container's default route, as link and gateway."""
        found = json.loads(
            self.inside(container_id, "ip", "-j", f"-{version}", "route", "show", "default") or "[]"
        )
        return " ".join(f"{one['dev']} {one['gateway']}" for one in found)

    def pings(self, container_id: str, address: str) -> bool:
        """Whether a container reaches an address."""
        version = "-6" if ":" in address else "-4"
        text = self.inside(
            container_id, "busybox", "ping", version, "-c1", "-W5", address, ok=False
        )
        return " 0% packet loss" in text

    async def told(self) -> list[tuple[str, str]]:
        """All events so far: action and name."""
        async with self.bus.subscribe(since_ns=0, until_ns=2**62) as channel:
            with trio.move_on_after(30):
                return [
                    (item.action, item.attributes.get("name", ""))
                    for item in [await channel.receive() for _ in range(self.bus.tail)]
                    if isinstance(item, Event)
                ]
        raise AssertionError("events are missing")


def own_prefix() -> str:
    """The first half of addresses that nobody else has: of other workers' tests for certain."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return f"10.{128 + worker % 4 + 4 * secrets.randbelow(15)}"


def own_link(prefix: str) -> str:
    """The name of a link that goes with these addresses."""
    return f"wt{prefix.replace('.', '')}"


def links_on(parent: str) -> list[str]:
    """The host's links that were made on this one."""
    command = ["ip", "-j", "link", "show"]
    done = subprocess.run(command, capture_output=True, check=True)
    return [link["ifname"] for link in json.loads(done.stdout) if link.get("link") == parent]


@asynccontextmanager
async def running(
    folder: Path, prefix: str, bridge: BridgeConfig | None = None
) -> AsyncIterator[Scene]:
    """An engine on `folder`; left as a kill leaves it."""
    scene = Scene(folder, prefix, bridge)
    async with trio.open_nursery() as nursery:
        for part in (scene.store, scene.bus, scene.networks):
            await nursery.start(part.run)
        yield scene
        nursery.cancel_scope.cancel()


def host_links() -> set[str]:
    """The names of the host's links."""
    return {name for _, name in socket.if_nameindex()}


def is_held(path: Path) -> bool:
    """Whether a namespace is there."""
    inside = enter_namespace(path)
    if inside is not None:
        inside.close()
    return inside is not None


def known_links(folder: Path) -> set[str]:
    """The links of all networks that the engine on `folder` has on disk. Nobody else's: other tests
    have bridges on the host at the same time.
    """
    path = folder / "state.db"
    if not path.exists():
        return set()
    with closing(sqlite3.connect(path)) as store:
        rows = store.execute("SELECT record FROM networks").fetchall()
    networks = (msgspec.json.decode(row[0], type=Network) for row in rows)
    return {network.link for network in networks if network.link and network.owns_link}


@contextmanager
def own_addresses(*folders: Path) -> Iterator[str]:
    """The first half of addresses of the test's own. What the engines on `folders` leave on the
    host goes with it.
    """
    prefix = own_prefix()
    yield prefix
    for folder in folders:
        for path in (*folder.glob("netns/*"), *folder.glob("overlays/*")):
            drop_namespace(path)
        delete_links(sorted(known_links(folder)))
    delete_links([own_link(prefix)])


def delete_links(names: Sequence[str]) -> None:
    """Take links away; gone already is fine."""
    for name in names:
        subprocess.run(["ip", "link", "del", name], check=False, capture_output=True)
