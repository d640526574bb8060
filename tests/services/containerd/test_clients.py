"""Round trips of every client against a real containerd."""

# Real processes and files are what these tests are about; a block on the loop harms nobody here.

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import io
import os
import subprocess
import tarfile
import uuid
from pathlib import Path

import pytest
import trio

from services.containerd.errors import AlreadyExists
from services.containerd.file_writer import FileWriter
from services.containerd.ingest_files import MIN_BYTES, IngestFile
from services.containerd.process_config import ProcessConfig
from services.containerd.values import (
    ContainerRecord,
    Descriptor,
    ImageRecord,
    LeaseResource,
    RuncOptions,
    SnapshotKind,
)
from services.errors import Conflict, EngineError, InvalidParameter, NotFound
from tests.engine_fixtures import KEPT, NAMESPACE, connected

pytestmark = pytest.mark.engine


def new_name(kind: str) -> str:
    """A name that no other test has."""
    return f"{kind}-{uuid.uuid4().hex[:12]}"


def digest_of(data: bytes) -> str:
    """The name of a blob."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


async def test_version_and_plugins_are_containerds(containerd_config: ProcessConfig) -> None:
    """The version is that of the binary, and the snapshotter in use is among the loaded plugins."""
    said = subprocess.run(["containerd", "--version"], capture_output=True, check=True, text=True)
    async with connected(containerd_config) as containerd:
        version, _revision = await containerd.version.get()
        assert version in said.stdout
        plugins = {plugin.id: plugin for plugin in await containerd.introspection.plugins()}
        assert plugins["overlayfs"].error == ""
        assert "cri" not in plugins or plugins["cri"].error
        assert uuid.UUID(await containerd.introspection.uuid())


async def test_ensure_namespace_twice(containerd_config: ProcessConfig) -> None:
    """Making sure of a namespace that is there is no error."""
    async with connected(containerd_config) as containerd:
        await containerd.namespaces.ensure()
        assert NAMESPACE in await containerd.namespaces.list()


async def test_container_record_round_trip(containerd_config: ProcessConfig) -> None:
    """A record comes back as it was stored; updates touch the named fields only; delete removes."""
    id = new_name("c")
    record = ContainerRecord(
        id=id,
        spec=b'{"ociVersion":"1.0.2"}',
        image="docker.io/library/busybox:latest",
        runtime_options=RuncOptions(root="/run/x", systemd_cgroup=True),
        snapshotter="overlayfs",
        snapshot_key="key",
        labels={"a.b/c": "1", "d": "2"},
    )
    async with connected(containerd_config) as containerd:
        stored = await containerd.containers.create(record)
        assert stored.created_at_ns > 0
        got = await containerd.containers.get(id)
        assert got == stored
        assert (got.spec, got.labels, got.runtime_options) == (
            record.spec,
            record.labels,
            record.runtime_options,
        )
        with pytest.raises(AlreadyExists, match=id):
            await containerd.containers.create(record)
        changed = ContainerRecord(id=id, spec=b"{}", labels={"d": "3"}, image="other")
        updated = await containerd.containers.update(changed, "labels.d")
        assert updated.labels == {"a.b/c": "1", "d": "3"}
        assert updated.image == record.image
        assert [each.id for each in await containerd.containers.list(f"id=={id}")] == [id]
        await containerd.containers.delete(id)
        with pytest.raises(NotFound, match=id):
            await containerd.containers.get(id)


async def test_content_round_trip(containerd_config: ProcessConfig) -> None:
    """Several megabytes go in and come out unchanged, whole and in part; labels can be changed."""
    data = b"0123456789abcdef" * 200_000
    digest = digest_of(data)
    async with connected(containerd_config) as containerd:
        async with containerd.content.writer(new_name("ref"), len(data), digest) as writer:
            await writer.write(data)
            assert writer.offset == len(data)
            labels = {"containerd.io/gc.root": "x", "b": "2"}
            assert await writer.commit(labels) == digest
        assert (await containerd.content.info(digest)).size_bytes == len(data)
        assert await containerd.content.read_all(digest, len(data)) == data
        with pytest.raises(InvalidParameter, match="larger"):
            await containerd.content.read_all(digest, len(data) - 1)
        async with contextlib.aclosing(containerd.content.read(digest, 5, 11)) as pieces:
            assert b"".join([piece async for piece in pieces]) == data[5:16]
        changed = await containerd.content.update_labels(digest, {"b": "", "c.d/e": "3"})
        assert changed.labels == {"containerd.io/gc.root": "x", "c.d/e": "3"}
        found = await containerd.content.list(f"digest=={digest}")
        assert [each.digest for each in found] == [digest]
        with pytest.raises(AlreadyExists):
            async with containerd.content.writer(new_name("ref"), expected=digest):
                pass
        await containerd.content.delete(digest)
        with pytest.raises(NotFound):
            await containerd.content.info(digest)


async def test_content_is_resumed_where_it_ended(containerd_config: ProcessConfig) -> None:
    """A writer that went away leaves what it wrote to the next one of the same ref."""
    ref, data = new_name("ref"), b"first-second" + uuid.uuid4().bytes
    async with connected(containerd_config) as containerd:
        async with containerd.content.writer(ref) as writer:
            await writer.write(data[:6])
        (status,) = [each for each in await containerd.content.statuses() if each.ref == ref]
        assert status.offset_bytes == 6
        async with containerd.content.writer(ref) as writer:
            assert writer.offset == 6
            await writer.write(data[6:])
            assert await writer.commit() == digest_of(data)


async def test_a_large_blob_goes_into_the_ingests_file(containerd_config: ProcessConfig) -> None:
    """It is resumed, checked and refused as any other, and read back whole."""
    ref, data = new_name("ref"), os.urandom(MIN_BYTES + 5)
    total, digest = len(data), digest_of(data)
    async with connected(containerd_config) as containerd:
        async with containerd.content.writer(ref, total, digest) as writer:
            assert isinstance(writer, FileWriter)
            await writer.write(data[:100])
        (status,) = [each for each in await containerd.content.statuses() if each.ref == ref]
        assert status.offset_bytes == 100
        async with containerd.content.writer(ref, total, digest) as writer:
            await writer.write(data[writer.offset :])
            assert await writer.commit() == digest
        async with contextlib.aclosing(containerd.blobs.read(digest)) as pieces:
            assert b"".join([piece async for piece in pieces]) == data
        other, wrong = new_name("ref"), "sha256:" + "0" * 64
        async with containerd.content.writer(other, total, wrong) as writer:
            await writer.write(data)
            with pytest.raises(Conflict):
                await writer.commit()


async def test_a_large_blob_is_shared_with_containerd(
    containerd_config: ProcessConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is taken over unread, whatever the collector does meanwhile; else it is hashed again."""
    place, placed = IngestFile._place, list[str]()

    def unlucky(file: IngestFile) -> None:
        """The collector comes between the first placing and containerd's hearing of it."""
        place(file)
        if not placed:
            blob(file.digest).unlink()
        placed.append(file.digest)

    def impossible(_file: IngestFile) -> None:
        raise OSError(errno.EXDEV, "no link to there")

    def blob(digest: str) -> Path:
        return containerd_config.root / "io.containerd.content.v1.content/blobs/sha256" / digest[7:]

    async with connected(containerd_config) as containerd:
        for how, placings in ((place, 0), (unlucky, 2), (impossible, 0)):
            monkeypatch.setattr(IngestFile, "_place", how)
            ref, data = new_name("ref"), os.urandom(MIN_BYTES)
            async with containerd.content.writer(ref, len(data)) as writer:
                await writer.write(data)
                assert await writer.commit({"a": "1"}) == digest_of(data)
            assert len(placed) == placings
            info = await containerd.content.info(digest_of(data))
            assert (info.size_bytes, info.labels) == (len(data), {"a": "1"})
            assert blob(info.digest).read_bytes() == data
            assert blob(info.digest).stat().st_nlink == 1
            assert not [s for s in await containerd.content.statuses() if s.ref.startswith(ref)]
            async with containerd.content.writer(ref, len(data)) as writer:
                await writer.write(data)
                with pytest.raises(AlreadyExists):
                    await writer.commit()
            placed.clear()
            assert not [s for s in await containerd.content.statuses() if s.ref.startswith(ref)]


async def test_content_with_a_wrong_digest_is_refused(containerd_config: ProcessConfig) -> None:
    """What does not hash to the expected digest does not get into the store; abort forgets it."""
    ref = new_name("ref")
    wrong = digest_of(b"something else " + uuid.uuid4().bytes)
    async with connected(containerd_config) as containerd:
        with pytest.raises(Conflict):
            async with containerd.content.writer(ref, expected=wrong) as writer:
                await writer.write(b"data")
                await writer.commit()
        with pytest.raises(NotFound):
            await containerd.content.info(wrong)
        with contextlib.suppress(NotFound):
            await containerd.content.abort(ref)
        assert ref not in [each.ref for each in await containerd.content.statuses()]


async def test_missing_content_is_not_found(containerd_config: ProcessConfig) -> None:
    """Reading a blob that is not there is NotFound, also over a stream."""
    async with connected(containerd_config) as containerd:
        with pytest.raises(NotFound):
            await containerd.content.read_all(digest_of(b"not there"), 10)
        with pytest.raises(InvalidParameter):
            await containerd.content.info("no digest")


async def test_image_record_round_trip(containerd_config: ProcessConfig) -> None:
    """A record comes back as stored, can be given another target, listed, and removed."""
    name = f"docker.io/library/{new_name('image')}:latest"
    target = Descriptor(
        media_type="application/vnd.oci.image.manifest.v1+json",
        digest=digest_of(b"manifest"),
        size_bytes=8,
        annotations={"k": "v"},
    )
    async with connected(containerd_config) as containerd:
        stored = await containerd.images.create(
            ImageRecord(name=name, target=target, labels={"a": "1"})
        )
        assert stored.created_at_ns > 0
        assert await containerd.images.get(name) == stored
        assert (stored.target, stored.labels) == (target, {"a": "1"})
        with pytest.raises(AlreadyExists):
            await containerd.images.create(ImageRecord(name=name, target=target))
        other = Descriptor(media_type=target.media_type, digest=digest_of(b"2"), size_bytes=1)
        moved = await containerd.images.update(ImageRecord(name=name, target=other), "target")
        assert (moved.target, moved.labels) == (other, {"a": "1"})
        assert name in [image.name for image in await containerd.images.list(f"name=={name}")]
        await containerd.images.delete(name, sync=True)
        with pytest.raises(NotFound):
            await containerd.images.get(name)


async def test_lease_holds_what_is_written_under_it(containerd_config: ProcessConfig) -> None:
    """Content outlives the collector while its lease is there, and goes with it."""
    lease, data = new_name("lease"), uuid.uuid4().bytes
    async with connected(containerd_config) as containerd:
        made = await containerd.leases.create(lease, expires_s=3600, labels={"x": "y"})
        assert made.labels["x"] == "y"
        with containerd.lease(lease):
            async with containerd.content.writer(new_name("ref")) as writer:
                await writer.write(data)
                digest = await writer.commit()
        held = LeaseResource(id=digest, type="content")
        assert await containerd.leases.resources(lease) == [held]
        assert lease in [each.id for each in await containerd.leases.list()]
        # Another's collection may come in between: a second lease holds it meanwhile.
        other = new_name("lease")
        await containerd.leases.create(other, expires_s=3600)
        await containerd.leases.add_resource(other, held)
        await containerd.leases.delete_resource(lease, held)
        await containerd.leases.add_resource(lease, held)
        await containerd.leases.delete(other, sync=True)
        assert (await containerd.content.info(digest)).size_bytes == len(data)
        await containerd.leases.delete(lease, sync=True)
        with pytest.raises(NotFound):
            await containerd.content.info(digest)


async def test_snapshot_round_trip(containerd_config: ProcessConfig) -> None:
    """Prepare, fill, commit, view, stat, usage, label, list, remove: each says what it did."""
    key, name = new_name("active"), new_name("layer")
    async with connected(containerd_config) as containerd:
        snapshots = containerd.snapshots
        (mount,) = await snapshots.prepare(key, labels=KEPT)
        assert mount.type == "bind"
        Path(mount.source, "file").write_bytes(b"x" * 10_000)
        assert await snapshots.mounts(key) == [mount]
        assert (await snapshots.stat(key)).kind is SnapshotKind.ACTIVE
        await snapshots.commit(name, key, KEPT)
        info = await snapshots.stat(name)
        assert (info.kind, info.parent) == (SnapshotKind.COMMITTED, "")
        assert (await snapshots.usage(name)).size_bytes >= 10_000
        (view,) = await snapshots.view(f"{key}-view", name, KEPT)
        assert "ro" in view.options
        with pytest.raises(AlreadyExists):
            await snapshots.view(f"{key}-view", name)
        with pytest.raises(Conflict):
            await snapshots.remove(name)
        labels = (await snapshots.update_labels(name, {"b": "2"})).labels
        assert labels["b"] == "2"
        assert {name, f"{key}-view"} <= {each.name for each in await snapshots.list()}
        await snapshots.remove(f"{key}-view")
        await snapshots.remove(name)
        with pytest.raises(NotFound):
            await snapshots.stat(name)


async def test_layer_is_applied_and_taken_again(containerd_config: ProcessConfig) -> None:
    """A tar.gz becomes a snapshot's files and yields its diff id; a difference becomes a layer."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        member = tarfile.TarInfo("hello")
        member.size = 5
        archive.addfile(member, io.BytesIO(b"world"))
    layer = gzip.compress(tar.getvalue())
    descriptor = Descriptor(
        media_type="application/vnd.oci.image.layer.v1.tar+gzip",
        digest=digest_of(layer),
        size_bytes=len(layer),
    )
    key = new_name("unpack")
    async with connected(containerd_config) as containerd:
        lease = await containerd.leases.create(new_name("lease"))
        with containerd.lease(lease.id):
            async with containerd.content.writer(new_name("ref"), len(layer)) as writer:
                await writer.write(layer)
                await writer.commit()
            mounts = await containerd.snapshots.prepare(key)
            applied = await containerd.diff.apply(descriptor, mounts)
            assert applied.digest == digest_of(tar.getvalue())
            assert Path(mounts[0].source, "hello").read_bytes() == b"world"
            await containerd.snapshots.commit(f"{key}-base", key)
            upper = await containerd.snapshots.prepare(f"{key}-upper", f"{key}-base")
            lower = await containerd.snapshots.view(f"{key}-lower", f"{key}-base")
            folder = next(o for o in upper[0].options if o.startswith("upperdir="))
            Path(folder.removeprefix("upperdir="), "new").write_bytes(b"file")
            made = await containerd.diff.diff(lower, upper, ref=new_name("diff"))
            blob = await containerd.content.read_all(made.digest, 1 << 20)
        with tarfile.open(fileobj=io.BytesIO(blob)) as archive:
            assert "new" in archive.getnames()
        await containerd.leases.delete(lease.id)


async def test_a_call_cancelled_by_its_caller_leaves_the_connection_usable(
    containerd_config: ProcessConfig,
) -> None:
    """Cancelling calls and streams midway costs nobody else anything."""
    data = b"x" * 8_000_000
    async with connected(containerd_config) as containerd:
        async with containerd.content.writer(new_name("ref")) as writer:
            await writer.write(data)
            digest = await writer.commit({"containerd.io/gc.root": "1"})
        for _ in range(20):
            with trio.move_on_after(0.001):
                await containerd.content.read_all(digest, 1 << 30)
            with trio.CancelScope() as scope:
                scope.cancel()
                await containerd.version.get()
            async with contextlib.aclosing(containerd.content.read(digest)) as pieces:
                async for _piece in pieces:
                    break
        assert await containerd.content.read_all(digest, len(data)) == data


async def test_errors_name_call_and_object(containerd_config: ProcessConfig) -> None:
    """An error's text says which call about what failed, and keeps containerd's reason."""
    async with connected(containerd_config) as containerd:
        with pytest.raises(EngineError, match=r"containerd tasks\.get nope: .*not found"):
            await containerd.tasks.get("nope")
