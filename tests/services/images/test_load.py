"""docker load, on a real containerd."""

from __future__ import annotations

import bz2
import gzip
import lzma
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest
import trio
import zstandard

from services.errors import InvalidParameter, NotFound
from services.images import IngestProgress, Loaded
from services.images.ingest import LARGE_BYTES
from tests.services.images.archives import (
    TestImage,
    body_of,
    digest_of,
    docker_members,
    layer_with,
    oci_members,
    tar_of,
)
from tests.services.images.conftest import Engine, collect, open_engine

pytestmark = pytest.mark.engine


async def load(engine: Engine, archive: bytes) -> list[str]:
    """Load `archive`; the lines that dockerd would show."""
    lines: list[str] = []

    async def report(progress: IngestProgress | Loaded) -> None:
        if isinstance(progress, Loaded):
            lines.append(progress.text)

    with trio.fail_after(100):
        await engine.images.load(body_of(archive), report)
    return lines


async def test_docker_archive_is_listed_by_ctr_and_holds_busybox(
    containerd_address: Path, layer: bytes
) -> None:
    """An archive of docker save shows up in ctr, and root files made of it have what is in it."""
    async with open_engine(containerd_address) as engine:
        image = TestImage(layers=[layer, layer_with(hello="world")])
        assert await load(engine, tar_of(docker_members(image))) == ["Loaded image: busybox:latest"]
        assert "docker.io/library/busybox:latest" in await engine.ctr("images", "ls", "-q")
        assert "complete" in await engine.ctr("images", "check")

        loaded = await engine.images.inspect("busybox")
        assert loaded.repo_tags == ("busybox:latest",)
        assert loaded.diff_ids == tuple(digest_of(each) for each in image.layers)
        assert loaded.created_at_ns == 1_704_164_645_123_456_789
        assert loaded.config.config is not None
        assert loaded.config.config.cmd == ["sh"]
        assert loaded.unpacked_bytes > len(layer) // 2
        assert engine.events.actions() == [("load", loaded.id)]

        mounts = await engine.images.prepare_rootfs(loaded, "c1")
        await collect(engine.containerd)
        mount = mounts[0]
        assert mount.type == "overlay"
        lower = next(o for o in mount.options if o.startswith("lowerdir=")).removeprefix(
            "lowerdir="
        )
        found = [Path(each) / "bin/busybox" for each in lower.split(":")]
        assert any(path.exists() for path in found)
        await engine.images.remove_rootfs("c1")
        await engine.images.remove_rootfs("c1")


async def test_blobs_of_another_namespace_are_shared(
    containerd_address: Path, layer: bytes
) -> None:
    """What ctr imported elsewhere on the same containerd loads here, documents and layers alike."""
    async with open_engine(containerd_address) as engine:
        archive = tar_of(docker_members(TestImage(layers=[layer_with(hello="shared")])))
        ctr = ["ctr", "-a", str(containerd_address), "-n", "elsewhere", "images"]
        await trio.run_process([*ctr, "import", "-"], stdin=archive, capture_stdout=True)
        try:
            assert await load(engine, archive) == ["Loaded image: busybox:latest"]
            assert "complete" in await engine.ctr("images", "check")
        finally:
            await trio.run_process([*ctr, "rm", "--sync", "docker.io/library/busybox:latest"])


async def ignore(_: object) -> None:
    """For loads whose progress does not matter."""


async def test_archive_gets_the_id_that_containerd_gives_it(
    containerd_address: Path, layer: bytes, tmp_path: Path
) -> None:
    """ctr and we make the same manifest of an archive that has none; an image keeps its one ID."""
    async with open_engine(containerd_address) as engine:
        archive = tar_of(docker_members(TestImage(layers=[layer])))
        await load(engine, archive)
        ours = (await engine.images.inspect("busybox")).id
        await engine.images.remove("busybox")
        file = tmp_path / "a.tar"
        file.write_bytes(archive)
        await engine.ctr("images", "import", str(file))
        theirs = (await engine.images.inspect("busybox")).id
        assert ours == theirs


@pytest.mark.parametrize("both", [False, True])
async def test_oci_layout_keeps_its_manifests(
    containerd_address: Path, layer: bytes, both: bool
) -> None:
    """Out of an OCI layout come the very manifests that were saved, under all their names."""
    async with open_engine(containerd_address) as engine:
        image = TestImage(layers=[layer], tags=("busybox:latest", "busybox:1.36"))
        members = oci_members(image, both=both)
        lines = await load(engine, tar_of(members))
        assert lines == ["Loaded image: busybox:latest", "Loaded image: busybox:1.36"]
        loaded = await engine.images.inspect("busybox:1.36")
        assert f"blobs/sha256/{loaded.id[7:]}" in members
        assert loaded.repo_tags == ("busybox:1.36", "busybox:latest")
        assert loaded.repo_digests == (f"busybox@{loaded.id}",)


@pytest.mark.parametrize(
    "compress", [gzip.compress, bz2.compress, lzma.compress, zstandard.compress]
)
async def test_compressed_archives(
    containerd_address: Path, layer: bytes, compress: Callable[[bytes], bytes]
) -> None:
    """The archive may be compressed in each of the ways that dockerd knows."""
    async with open_engine(containerd_address) as engine:
        archive = compress(tar_of(docker_members(TestImage(layers=[layer]))))
        assert await load(engine, archive) == ["Loaded image: busybox:latest"]


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
async def test_compressed_layers_are_unpacked_and_checked(
    containerd_address: Path, layer: bytes, compress: Callable[[bytes], bytes]
) -> None:
    """A layer may be compressed inside the archive; the diff ID is that of the plain one."""
    async with open_engine(containerd_address) as engine:
        image = TestImage(layers=[compress(layer)], diff_ids=[digest_of(layer)])
        await load(engine, tar_of(docker_members(image)))
        loaded = await engine.images.inspect("busybox")
        assert loaded.chain_id == digest_of(layer)
        await engine.containerd.snapshots.stat(loaded.chain_id)


async def test_several_images_share_layers_in_a_legacy_archive(
    containerd_address: Path, layer: bytes
) -> None:
    """Two images of an archive, the shared layer once as a file and once as a link to it."""
    async with open_engine(containerd_address) as engine:
        one = TestImage(layers=[layer, layer_with(a="1")], tags=("one:latest",))
        two = TestImage(layers=[layer, layer_with(b="2")], tags=("two:v2",))
        lines = await load(engine, tar_of(docker_members(one, two, legacy=True)))
        assert lines == ["Loaded image: one:latest", "Loaded image: two:v2"]
        snapshots = await engine.containerd.snapshots.list()
        assert len(snapshots) == 3


async def test_nameless_image_is_loaded_by_its_id(containerd_address: Path, layer: bytes) -> None:
    """An image without a name is told by its ID, and is dangling."""
    async with open_engine(containerd_address) as engine:
        lines = await load(engine, tar_of(docker_members(TestImage(layers=[layer], tags=()))))
        image = (await engine.images.list())[0]
        assert lines == [f"Loaded image ID: {image.id}"]
        assert image.is_dangling
        assert image.repo_tags == image.repo_digests == ()
        assert (await engine.images.resolve(image.id[7:19])).id == image.id


async def test_name_that_moves_leaves_its_image_dangling(
    containerd_address: Path, layer: bytes
) -> None:
    """Loading another image under a name that is taken keeps the old image, without the name."""
    async with open_engine(containerd_address) as engine:
        await load(engine, tar_of(docker_members(TestImage(layers=[layer]))))
        old = await engine.images.inspect("busybox")
        await load(engine, tar_of(docker_members(TestImage(layers=[layer, layer_with(x="y")]))))
        new = await engine.images.inspect("busybox")
        assert new.id != old.id
        assert (await engine.images.inspect(old.id)).is_dangling


async def test_same_archive_twice_at_once(containerd_address: Path, layer: bytes) -> None:
    """Two loads of the same image at the same time both succeed, and leave one image."""
    async with open_engine(containerd_address) as engine:
        archive = tar_of(oci_members(TestImage(layers=[layer, layer_with(a="1")])))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load, engine, archive)
            nursery.start_soon(load, engine, archive)
        assert len(await engine.images.list()) == 1
        await collect(engine.containerd)
        left = await engine.leftovers()
        assert left["leases"] == left["ingests"] == []
        assert len(left["content"]) == 4
        assert len(left["snapshots"]) == 2


async def test_multi_platform_index_with_missing_platforms(
    containerd_address: Path, layer: bytes
) -> None:
    """Of an index only this machine's platform need be there; ctr sees it complete all the same."""
    import json

    async with open_engine(containerd_address) as engine:
        members = oci_members(TestImage(layers=[layer]))
        index = json.loads(members["index.json"])
        here = {k: v for k, v in index["manifests"][0].items() if k != "annotations"}
        here["platform"] = {"os": "linux", "architecture": "amd64"}
        away = {
            **here,
            "digest": "sha256:" + "0" * 64,
            "platform": {"os": "linux", "architecture": "s390x"},
        }
        nested = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.index.v1+json",
                "manifests": [away, here],
            }
        ).encode()
        members[f"blobs/sha256/{digest_of(nested)[7:]}"] = nested
        index["manifests"] = [
            {
                "mediaType": "application/vnd.oci.image.index.v1+json",
                "digest": digest_of(nested),
                "size": len(nested),
                "annotations": {"io.containerd.image.name": "docker.io/library/multi:latest"},
            }
        ]
        members["index.json"] = json.dumps(index).encode()
        await load(engine, tar_of(members))
        image = await engine.images.inspect("multi")
        assert image.id == digest_of(nested)
        assert str(image.platform) == "linux/amd64"
        assert [each.is_available for each in image.manifests] == [False, True]
        await collect(engine.containerd)
        mounts = await engine.images.prepare_rootfs(await engine.images.inspect("multi"), "c2")
        assert mounts
        await engine.images.remove_rootfs("c2")


def _bad_archives() -> dict[str, bytes]:
    layer = layer_with(a="1")
    good = tar_of(docker_members(TestImage(layers=[layer])))
    wrong_name = dict(oci_members(TestImage(layers=[layer])))
    blob = next(name for name in wrong_name if name.startswith("blobs/"))
    wrong_name[blob] = b"something else"
    wrong_large = {**wrong_name, blob: b"x" * LARGE_BYTES}
    return {
        "empty": b"",
        "no tar": b"x" * 5000,
        "a tar of something else": tar_of({"hello": b"world"}),
        "truncated": good[: len(good) // 2],
        "truncated gzip": gzip.compress(good)[:-100],
        "absolute path": tar_of({"/etc/passwd": b"x"}),
        "path that leaves": tar_of({"a/../../b": b"x"}),
        "link that leaves": tar_of({"a/layer.tar": "../../../etc/passwd"}),
        "missing layer": tar_of(
            {k: v for k, v in docker_members(TestImage(layers=[layer])).items() if "layer" not in k}
        ),
        "links in a circle": tar_of(
            {"c.json": "d.json", "d.json": "c.json", "manifest.json": b'[{"Config":"c.json"}]'}
        ),
        "wrong diff id": tar_of(
            docker_members(TestImage(layers=[layer], diff_ids=["sha256:" + "1" * 64]))
        ),
        "too few diff ids": tar_of(
            docker_members(
                TestImage(layers=[layer, layer_with(b="1")], diff_ids=[digest_of(layer)])
            )
        ),
        "wrong blob": tar_of(wrong_name),
        "wrong large blob": tar_of(wrong_large),
        "bad name": tar_of(docker_members(TestImage(layers=[layer], tags=["UPPER:latest"]))),
        "layer is no tar": tar_of(docker_members(TestImage(layers=[b"not a tar" * 100]))),
        "listing is no json": tar_of({"manifest.json": b"{"}),
        "listing of the wrong shape": tar_of({"manifest.json": b'{"a": 1}'}),
        "huge name": tar_of({"a/" * 40_000 + "b": b"x"}),
    }


@pytest.mark.parametrize("kind", list(_bad_archives()))
async def test_bad_archives_leave_nothing(containerd_address: Path, kind: str) -> None:
    """An archive that cannot be loaded is refused as the client's mistake and leaves no trace."""
    async with open_engine(containerd_address) as engine:
        before = await engine.leftovers()
        with pytest.raises(InvalidParameter) as refusal:
            await load(engine, _bad_archives()[kind])
        assert str(refusal.value)
        await collect(engine.containerd)
        assert await engine.leftovers() == before
        assert engine.events.told == []


async def test_cancelled_load_leaves_nothing(containerd_address: Path, layer: bytes) -> None:
    """A client that goes in the middle has loaded nothing."""
    async with open_engine(containerd_address) as engine:
        before = await engine.leftovers()
        archive = tar_of(docker_members(TestImage(layers=[layer])))

        async def half() -> AsyncIterator[bytes]:
            yield archive[: len(archive) // 2]
            scope.cancel()
            await trio.sleep_forever()

        with trio.CancelScope() as scope:
            await engine.images.load(half(), ignore)
        assert scope.cancelled_caught
        await collect(engine.containerd)
        assert await engine.leftovers() == before


async def test_client_error_comes_out_as_itself(containerd_address: Path) -> None:
    """What the body raises is raised by load, not wrapped in a group."""
    async with open_engine(containerd_address) as engine:

        async def broken() -> AsyncIterator[bytes]:
            yield b"x"
            raise ConnectionResetError("gone")

        with pytest.raises(ConnectionResetError):
            await engine.images.load(broken(), ignore)


async def test_run_removes_what_a_killed_daemon_left(
    containerd_address: Path, layer: bytes
) -> None:
    """After a kill in the middle of a load, the next start takes lease, ingest and blobs away."""
    async with open_engine(containerd_address, run=False) as engine:
        before = await engine.leftovers()
        containerd = engine.containerd
        await containerd.leases.create("wharfinger-images-dead", expires_s=3600.0)
        with containerd.lease("wharfinger-images-dead"):
            async with containerd.content.writer("wharfinger-images-dead-1", total=5) as writer:
                await writer.write(b"hello")
                await writer.commit()
            async with containerd.content.writer("wharfinger-images-dead-2", total=50) as writer:
                await writer.write(b"hello")
            await containerd.snapshots.prepare("wharfinger-unpack-dead sha256:0")
        assert await engine.leftovers() != before
        async with trio.open_nursery() as nursery:
            await nursery.start(engine.images.run)
            nursery.cancel_scope.cancel()
        assert await engine.leftovers() == before


async def test_no_half_image_is_ever_visible(containerd_address: Path, layer: bytes) -> None:
    """While an archive is loaded, the image is not there until it is whole."""
    async with open_engine(containerd_address) as engine:
        archive = tar_of(docker_members(TestImage(layers=[layer])))

        async def slowly() -> AsyncIterator[bytes]:
            for start in range(0, len(archive), 600_000):
                yield archive[start : start + 600_000]
                with pytest.raises(NotFound):
                    await engine.images.inspect("busybox")

        await engine.images.load(slowly(), ignore)
        assert await engine.images.inspect("busybox")


KILLED_LOAD = """
import sys, trio
from pathlib import Path
from services.containerd.facade import Containerd
from services.images import Images

async def body():
    yield Path(sys.argv[2]).read_bytes()
    print("half", flush=True)
    await trio.sleep_forever()

async def ignore(_): pass

class Events:
    async def commit(self, *events): pass

async def main():
    containerd = Containerd(Path(sys.argv[1]), "moby")
    async with trio.open_nursery() as nursery:
        await nursery.start(containerd.connection.run)
        await Images(containerd=containerd, events=Events()).load(body(), ignore)

trio.run(main)
"""


async def test_kill_9_in_the_middle_of_a_load(
    containerd_address: Path, layer: bytes, tmp_path: Path
) -> None:
    """Nothing of a killed load is seen, and the next start leaves nothing of it on disk."""
    async with open_engine(containerd_address, run=False) as engine:
        before = await engine.leftovers()
        second = layer_with(large="x" * 4_000_000)
        archive = tar_of(docker_members(TestImage(layers=[layer, second])))
        half = tmp_path / "half.tar"
        half.write_bytes(archive[: len(layer) + 2_000_000])  # in the middle of the second layer
        command = [sys.executable, "-c", KILLED_LOAD, str(containerd_address), str(half)]
        async with trio.open_nursery() as nursery:
            killed = await nursery.start(
                partial(trio.run_process, command, stdout=subprocess.PIPE, check=False)
            )
            with trio.fail_after(90):
                assert (await killed.stdout.receive_some()).startswith(b"half")
                # Some of it has come as far as containerd.
                while (await engine.leftovers())["ingests"] == before["ingests"]:
                    await trio.sleep(0.02)
            killed.kill()
        assert (await engine.leftovers())["leases"] != before["leases"]
        assert await engine.images.list() == ()
        async with trio.open_nursery() as nursery:
            await nursery.start(engine.images.run)
            nursery.cancel_scope.cancel()
        assert await engine.leftovers() == before
