"""A registry, what breaks the way to it, and an engine's client of it on a real containerd."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import trio

from services.containerd.facade import Containerd
from services.images.reference import parse_reference
from services.registry import PullRequest, PushRequest, Registry, RegistrySettings
from services.registry.credentials import Credentials
from services.registry.jobs import Job
from services.registry.progress import Line
from supervisor.otp import ChildSpec, ChildType, Supervisor
from tests.services.images.archives import tar_of
from tests.services.images.conftest import Engine, collect, open_engine
from tests.services.images.conftest import containerd_address as containerd_address
from tests.support.broken_http import FaultProxy, fault_proxy
from tests.support.registry import DOCKER_LAYER, TestRegistry, running_registry

LIMIT_S = 110.0
LAYER_BYTES = 3 << 20  # large enough to be cut in the middle, and to come as a file


@pytest.fixture(scope="session")
def open_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestRegistry]:
    """A registry that anybody may use, without TLS."""
    with running_registry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture
def faulty(open_registry: TestRegistry) -> Iterator[FaultProxy]:
    """The same registry behind a proxy of this test."""
    with fault_proxy(open_registry.host) as proxy:
        yield proxy


def plain_layer(seed: int, size: int = LAYER_BYTES) -> bytes:
    """A layer of one file that does not compress."""
    return tar_of({f"file-{seed}": random.Random(seed).randbytes(size)})


def put_plain(registry: TestRegistry, repository: str, *seeds: int, tag: str = "1") -> list[str]:
    """An image with a plain layer for each seed; the layers' digests."""
    layers = [(DOCKER_LAYER, blob, blob) for blob in map(plain_layer, seeds)]
    registry.put_image(repository, tag, layers)
    return [registry.put_blob(repository, blob) for _, blob, _ in layers]


@dataclass(kw_only=True)
class Scene:
    """A client of registries, and the stores that it fills."""

    engine: Engine
    registry: Registry
    settings: RegistrySettings
    is_ending: bool = False
    before: dict[str, list[str]] = field(default_factory=dict)

    @property
    def containerd(self) -> Containerd:
        return self.engine.containerd

    def use(self, **changes: Any) -> None:
        """Other settings from now on."""
        self.settings = replace(self.settings, **changes)

    def pulling(self, name: str, credentials: Credentials | None = None, **fields: Any) -> Any:
        """The context of a pull."""
        return self.registry.pull(
            PullRequest(
                reference=parse_reference(name), credentials=credentials or Credentials(), **fields
            )
        )

    async def pull(self, name: str, credentials: Credentials | None = None, **fields: Any) -> str:
        """Pull to the end; all that was said, a line each. Raises what the pull failed with."""
        async with self.pulling(name, credentials, **fields) as job:
            return await ended(job)

    async def push(self, name: str, credentials: Credentials | None = None, **fields: Any) -> str:
        """Push to the end; see `pull`."""
        request = PushRequest(
            reference=parse_reference(name), credentials=credentials or Credentials(), **fields
        )
        async with self.registry.push(request) as job:
            return await ended(job)

    async def drop(self, name: str) -> None:
        """Remove an image, and all that belonged to it."""
        await self.engine.images.remove(name)
        await collect(self.containerd)

    async def check_nothing_left(self) -> None:
        """The stores hold nothing at all."""
        await collect(self.containerd)
        left = await self.engine.leftovers()
        assert not any(left.values()), left


async def ended(job: Job) -> str:
    """Wait for a job; what its board showed."""
    lines: list[str] = []
    async for fresh in job.board.watch():
        lines += map(shown, fresh)
    if job.error is not None:
        raise job.error
    return "\n".join(lines)


def shown(line: Line) -> str:
    """As the CLI prints it."""
    return f"{line.id}: {line.status}" if line.id else line.status or str(line.aux)


@asynccontextmanager
async def open_scene(address: Path, **settings: Any) -> AsyncIterator[Scene]:
    """A scene on an empty containerd; every test has its time."""
    with trio.fail_after(LIMIT_S):
        async with open_engine(address) as engine, trio.open_nursery() as nursery:
            scene: Scene
            registry = Registry(
                containerd=engine.containerd,
                images=engine.images,
                settings=lambda: scene.settings,
                user_agent="tests",
                is_ending=lambda: scene.is_ending,
            )
            scene = Scene(engine=engine, registry=registry, settings=RegistrySettings(**settings))
            child = ChildSpec(id="registry", start=registry.run, type=ChildType.SUPERVISOR)
            root = Supervisor([child], name="root")
            await nursery.start(root.run)
            yield scene
            root.stop()
