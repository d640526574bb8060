"""Pushes out of a real containerd into a real registry, over ways that break."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from services.errors import EngineError, NotFound
from services.images.platform import Platform
from services.images.reference import parse_reference
from services.registry import PushRequest, upload
from services.registry.transmission import Transmission
from tests.services.registry.conftest import Scene, open_scene, plain_layer, put_plain
from tests.support.broken_http import Fault, FaultProxy, Seen
from tests.support.registry import DOCKER_LAYER, TestRegistry

pytestmark = pytest.mark.engine


@asynccontextmanager
async def pulled(
    address: Path, registry: TestRegistry, repository: str, *seeds: int
) -> AsyncIterator[Scene]:
    """A scene with an image of these layers, under the registry's own name."""
    put_plain(registry, repository, *seeds)
    async with open_scene(address) as scene:
        await scene.pull(f"{registry.host}/{repository}:1")
        yield scene


async def rename(scene: Scene, old: str, new: str) -> None:
    await scene.engine.images.tag(old, new)


async def test_what_was_pulled_is_pushed_byte_for_byte(
    containerd_address: Path, open_registry: TestRegistry, faulty: FaultProxy
) -> None:
    """The manifest is as it was, layers are sent once, and not at all when they are there."""
    async with pulled(containerd_address, open_registry, "origin", 30, 31) as scene:
        # Another registry, as far as the names say: nothing is known to be there.
        copy = f"{faulty.host}/copy:2"
        await rename(scene, f"{open_registry.host}/origin:1", copy)
        told = await scene.push(copy)
        again = await scene.push(copy)
        events = [(e.action, e.actor_id) for e in scene.engine.events.told if e.action == "push"]
    original = open_registry.manifest("origin", "1")
    assert open_registry.manifest("copy", "2") == original
    assert told.startswith(f"The push refers to repository [{faulty.host}/copy]\n")
    assert told.count(": Pushed") == 2
    assert f"size: {len(original)}\n" in told
    assert again.count("Layer already exists") == 2
    assert events == [("push", copy)] * 2
    assert sum(seen.method == "PATCH" for seen in faulty.seen) == 3  # two layers, configuration


async def test_layers_are_mounted_from_where_they_came(
    containerd_address: Path, open_registry: TestRegistry, faulty: FaultProxy
) -> None:
    """Within one registry nothing is sent at all."""
    put_plain(open_registry, "mount/from", 32)
    async with open_scene(containerd_address) as scene:
        await scene.pull(f"{faulty.host}/mount/from:1")
        await rename(scene, f"{faulty.host}/mount/from:1", f"{faulty.host}/mount/to:1")
        told = await scene.push(f"{faulty.host}/mount/to:1")
    assert "Mounted from mount/from" in told
    assert not any(seen.method == "PATCH" for seen in faulty.seen)


async def test_all_tags(containerd_address: Path, open_registry: TestRegistry) -> None:
    """A name alone pushes every tag of it."""
    async with pulled(containerd_address, open_registry, "all", 33) as scene:
        name = f"{open_registry.host}/all"
        for tag in ("2", "3"):
            await rename(scene, f"{name}:1", f"{name}/new:{tag}")
        told = await scene.push(f"{name}/new")
    assert "2: digest: " in told
    assert "3: digest: " in told
    assert open_registry.manifest("all/new", "3") == open_registry.manifest("all", "1")


async def test_an_index_of_which_a_part_is_here(
    containerd_address: Path, open_registry: TestRegistry
) -> None:
    """The platform that is here goes alone, and the client is told; all here, the index goes."""
    children = [
        open_registry.put_image("parts", name, [(DOCKER_LAYER, layer, layer)], architecture=name)
        for name, layer in (("amd64", plain_layer(34, 99)), ("arm64", plain_layer(35, 99)))
    ]
    digest = open_registry.put_index("parts", "1", children)
    host = open_registry.host
    arm, amd = (Platform(os="linux", architecture=name) for name in ("arm64", "amd64"))
    async with open_scene(containerd_address) as scene:
        await scene.pull(f"{host}/parts:1", platform=amd)
        await rename(scene, f"{host}/parts:1", f"{host}/parts/copy:1")
        told = await scene.push(f"{host}/parts/copy:1")
        assert "manifestPushedInsteadOfIndex" in told
        assert open_registry.manifest("parts/copy", "1") == open_registry.manifest("parts", "amd64")
        with pytest.raises(NotFound, match="does not provide the specified platform"):
            await scene.push(f"{host}/parts/copy:1", platform=arm)
        await scene.pull(f"{host}/parts:1", platform=arm)
        assert "InsteadOf" not in await scene.push(f"{host}/parts/copy:1")
        assert open_registry.manifest("parts/copy", "1") == open_registry.pushed[digest]
        await scene.push(f"{host}/parts/copy:1", platform=arm)
        assert open_registry.manifest("parts/copy", "1") == open_registry.manifest("parts", "arm64")


@pytest.mark.parametrize(
    "fault",
    [Fault(take_after=64), Fault(status=503), Fault(status=429, headers={"Retry-After": "1"})],
    ids=["broken", "503", "429"],
)
async def test_an_upload_that_breaks_is_repeated(
    containerd_address: Path, open_registry: TestRegistry, faulty: FaultProxy, fault: Fault
) -> None:
    """Once is not fatal; always is, and then the registry has no such image."""
    seed = 36 + (fault.status % 7)
    async with pulled(containerd_address, open_registry, f"breaks/{seed}", seed) as scene:
        copy = f"{faulty.host}/breaks/copy{seed}"
        await rename(scene, f"{open_registry.host}/breaks/{seed}:1", f"{copy}:1")
        broken: list[Seen] = []

        def judge(seen: Seen, _before: int) -> Fault | None:
            if seen.method != "PATCH" or broken:
                return None
            broken.append(seen)
            return fault

        faulty.judge = judge
        told = await scene.push(f"{copy}:1")
        assert ": Pushed" in told
        assert len(broken) == 1
        scene.use(max_attempts=1)
        faulty.judge = lambda seen, _before: fault if seen.method in ("PATCH", "HEAD") else None
        await rename(scene, f"{copy}:1", f"{copy}/again:1")
        with pytest.raises(EngineError):
            await scene.push(f"{copy}/again:1")
        faulty.judge = lambda _seen, _before: None
        with pytest.raises(NotFound):
            await scene.pull(f"{copy}/again:1")
        assert not await scene.containerd.leases.list()


CHUNK = 1 << 20


@asynccontextmanager
async def pushing_in_chunks(
    address: Path, registry: TestRegistry, proxy: FaultProxy, seed: int
) -> AsyncIterator[tuple[Scene, str]]:
    """A scene with an image of one layer of several chunks, under the proxy's name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upload, "Transmission", partial(Transmission, chunk_bytes=CHUNK))
        async with pulled(address, registry, f"chunks/{seed}", seed) as scene:
            copy = f"{proxy.host}/chunks/copy{seed}:1"
            await rename(scene, f"{registry.host}/chunks/{seed}:1", copy)
            yield scene, copy


def chunks(proxy: FaultProxy) -> list[tuple[int, int]]:
    """First and last byte of each chunk that came, and (-1, length) of what came whole."""
    found = []
    for seen in proxy.seen:
        if (
            seen.method == "PATCH" and int(seen.headers["content-length"]) > 2000
        ):  # the configuration is smaller
            said = seen.headers.get("content-range", f"-1-{seen.headers['content-length']}")
            first, _, last = said.rpartition("-")
            found.append((int(first), int(last)))
    return found


async def test_a_large_layer_goes_in_chunks(
    containerd_address: Path, open_registry: TestRegistry, faulty: FaultProxy
) -> None:
    """One after the other, each once; what arrives is whole."""
    async with pushing_in_chunks(containerd_address, open_registry, faulty, 60) as (scene, copy):
        told = await scene.push(copy)
    assert ": Pushed" in told
    sent = chunks(faulty)
    assert [first for first, _ in sent] == [0, CHUNK, 2 * CHUNK, 3 * CHUNK]
    assert sent[-1][1] + 1 == len(plain_layer(60))
    original = open_registry.manifest("chunks/60", "1")
    assert open_registry.manifest("chunks/copy60", "1") == original


@pytest.mark.parametrize("how", ["broken", "forgotten"])
async def test_a_chunk_that_breaks_is_sent_again_alone(
    containerd_address: Path, open_registry: TestRegistry, faulty: FaultProxy, how: str
) -> None:
    """What the registry has is not sent twice, unless it has forgotten it."""
    faults = {
        "broken": Fault(take_after=5000),
        "forgotten": Fault(status=404),
    }
    seed = 61 + list(faults).index(how)

    def judge(seen: Seen, _before: int) -> Fault | None:
        is_third = seen.headers.get("content-range", "").startswith(f"{2 * CHUNK}-")
        is_first_time = [first for first, _ in chunks(faulty)].count(2 * CHUNK) == 1
        return faults[how] if seen.method == "PATCH" and is_third and is_first_time else None

    async with pushing_in_chunks(containerd_address, open_registry, faulty, seed) as (scene, copy):
        faulty.judge = judge
        told = await scene.push(copy)
    assert ": Pushed" in told
    starts = [first // CHUNK for first, _ in chunks(faulty)]
    assert starts == ([0, 1, 2, 0, 1, 2, 3] if how == "forgotten" else [0, 1, 2, 2, 3])


async def test_a_registry_without_chunks_gets_the_layer_whole(
    containerd_address: Path, open_registry: TestRegistry, faulty: FaultProxy
) -> None:
    """It refuses the first chunk; the one request that follows has all of it."""
    faulty.judge = lambda seen, _before: (
        Fault(status=416) if "content-range" in seen.headers else None
    )
    async with pushing_in_chunks(containerd_address, open_registry, faulty, 65) as (scene, copy):
        told = await scene.push(copy)
    assert ": Pushed" in told
    assert chunks(faulty) == [(0, CHUNK - 1), (-1, len(plain_layer(65)))]


async def test_a_push_ends_with_its_client(
    containerd_address: Path, open_registry: TestRegistry, faulty: FaultProxy
) -> None:
    """Who leaves has pushed nothing."""
    async with pulled(containerd_address, open_registry, "leaves", 50) as scene:
        copy = f"{faulty.host}/leaves/copy:1"
        faulty.judge = lambda seen, _before: (
            Fault(hold=True) if seen.method in ("HEAD", "POST") else None
        )
        await rename(scene, f"{open_registry.host}/leaves:1", copy)
        async with scene.registry.push(PushRequest(reference=parse_reference(copy))) as job:
            while not any(seen.method in ("HEAD", "POST") for seen in faulty.seen):
                await trio.sleep(0.01)
        async for _ in job.board.watch():
            pass
        assert job.error is not None
        assert not any(seen.method == "PUT" and "/manifests/" in seen.path for seen in faulty.seen)


async def test_what_is_not_here(containerd_address: Path, open_registry: TestRegistry) -> None:
    """dockerd's words."""
    async with open_scene(containerd_address) as scene:
        for name in ("x", "x:1"):
            full = f"{open_registry.host}/{name}"
            text = f"^An image does not exist locally with the tag: {open_registry.host}/x$"
            with pytest.raises(NotFound, match=text):
                await scene.push(full)
