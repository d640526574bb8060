"""A containerd of the tests' own, and the engine's image store on it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from services.containerd.facade import Containerd
from services.events import Event
from services.images import Images, ImageUse
from services.images.model import ImageId
from tests.services.images.archives import busybox_layer

NAMESPACE = "moby"


@dataclass
class EventRecorder:
    """An event bus that remembers what it was told."""

    told: list[Event] = field(default_factory=list)

    async def commit(self, *events: Event) -> None:
        self.told += events

    def actions(self) -> list[tuple[str, str]]:
        return [(event.action, event.attributes["name"]) for event in self.told]


@dataclass
class Users:
    """Who stands on which image."""

    uses: dict[ImageId, list[ImageUse]] = field(default_factory=dict)

    def __call__(self, image_id: ImageId, /) -> Sequence[ImageUse]:
        return self.uses.get(image_id, [])


@dataclass(kw_only=True)
class Engine:
    """The image store under test and what stands around it."""

    containerd: Containerd
    images: Images
    events: EventRecorder
    users: Users

    async def ctr(self, *arguments: str) -> str:
        command = ["ctr", "-a", str(self.containerd.address), "-n", NAMESPACE, *arguments]
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True)
        return done.stdout.decode()

    async def leftovers(self) -> dict[str, list[str]]:
        """Everything in containerd's stores, by kind."""
        return {
            "content": [info.digest for info in await self.containerd.content.list()],
            "snapshots": [info.name for info in await self.containerd.snapshots.list()],
            "leases": [lease.id for lease in await self.containerd.leases.list()],
            "ingests": [status.ref for status in await self.containerd.content.statuses()],
            "images": [record.name for record in await self.containerd.images.list()],
        }


@pytest.fixture(scope="session")
def containerd_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The socket of a containerd that serves only these tests."""
    base = tmp_path_factory.mktemp("containerd")
    address = base / "c.sock"
    config = base / "config.toml"
    config.write_text(
        f'version = 2\nroot = "{base}/root"\nstate = "{base}/state"\n'
        'disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]\n'
        f'[grpc]\n  address = "{address}"\n'
    )
    with (base / "log").open("wb") as log:
        process = subprocess.Popen(["containerd", "--config", str(config)], stderr=log, stdout=log)
    try:
        give_up_at = time.monotonic() + 90
        while not address.exists():
            assert process.poll() is None, (base / "log").read_text()
            assert time.monotonic() < give_up_at
            time.sleep(0.02)
        yield address
    finally:
        process.terminate()
        process.wait(90)


@pytest.fixture(scope="session")
def layer() -> bytes:
    """A busybox root file system as a tar."""
    return busybox_layer()


@asynccontextmanager
async def open_engine(address: Path, *, run: bool = True) -> AsyncIterator[Engine]:
    """The image store on the containerd at `address`, which is emptied first and after."""
    containerd = Containerd(address, NAMESPACE)
    events, users = EventRecorder(), Users()
    images = Images(containerd=containerd, events=events, in_use=users)
    engine = Engine(containerd=containerd, images=images, events=events, users=users)
    async with trio.open_nursery() as nursery:
        await nursery.start(containerd.connection.run)
        await containerd.connection.wait_ready()
        await containerd.namespaces.ensure()
        await _empty(containerd)
        if run:
            await nursery.start(images.run)
        yield engine
        with trio.fail_after(90):
            await _empty(containerd)
        nursery.cancel_scope.cancel()


async def _empty(containerd: Containerd) -> None:
    for record in await containerd.images.list():
        await containerd.images.delete(record.name)
    for lease in await containerd.leases.list():
        await containerd.leases.delete(lease.id)
    for _ in range(5):
        for snapshot in await containerd.snapshots.list():
            if snapshot.labels.get("containerd.io/gc.root"):
                await containerd.snapshots.remove(snapshot.name)
    await collect(containerd)


async def collect(containerd: Containerd) -> None:
    """Have containerd's collector run."""
    await containerd.leases.create("collect-now", expires_s=60.0)
    await containerd.leases.delete("collect-now", sync=True)
