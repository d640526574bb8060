"""The image store as a whole, on a real containerd."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
import trio

from services.errors import Conflict, InvalidParameter, NotFound, Unavailable
from services.events import MIGRATION, Event, EventBus
from services.images import Deleted, Images, ImageUse, Untagged, index
from services.images.leases import WorkingLeases
from services.store import Store
from tests.services.images.archives import TestImage, body_of, docker_members, layer_with, tar_of
from tests.services.images.conftest import Engine, collect, open_engine
from tests.services.images.test_load import ignore, load

pytestmark = pytest.mark.engine


async def load_small(engine: Engine, *tags: str, text: str = "x", created: str = "") -> None:
    image = TestImage(
        layers=[layer_with(file=text)], tags=tags, created=created or TestImage.created
    )
    await load(engine, tar_of(docker_members(image)))


async def test_tag_list_and_remove(containerd_address: Path) -> None:
    """A second name, then one after the other away; the last takes blobs and snapshots along."""
    async with open_engine(containerd_address) as engine:
        before = await engine.leftovers()
        await load_small(engine, "one:latest")
        image = await engine.images.tag("one", "localhost:5000/two:v1")
        assert image.repo_tags == ("one:latest", "localhost:5000/two:v1")
        assert image.last_tagged_at_ns
        assert len(await engine.images.list()) == 1
        assert await engine.images.remove("one") == (Untagged(name="one:latest"),)
        removed = await engine.images.remove("localhost:5000/two:v1")
        assert removed == (Untagged(name="localhost:5000/two:v1"), Deleted(id=image.id))
        assert await engine.leftovers() == before
        assert engine.events.actions() == [
            ("load", image.id),
            ("tag", "localhost:5000/two:v1"),
            ("untag", "one:latest"),
            ("untag", "localhost:5000/two:v1"),
            ("delete", image.id),
        ]
        assert {event.actor_id for event in engine.events.told} == {image.id}


async def test_tag_refusals(containerd_address: Path) -> None:
    """A digest is no tag, and what is not there cannot be tagged."""
    async with open_engine(containerd_address) as engine:
        await load_small(engine, "one:latest")
        with pytest.raises(InvalidParameter, match="digest reference"):
            await engine.images.tag("one", "x@sha256:" + "0" * 64)
        for name in ("sha256:abc", "docker.io/library/sha256"):
            with pytest.raises(InvalidParameter, match="refusing to create an ambiguous tag"):
                await engine.images.tag("one", name)
        with pytest.raises(InvalidParameter, match="invalid reference format"):
            await engine.images.tag("one", "a b")
        with pytest.raises(NotFound, match="No such image: two:latest"):
            await engine.images.tag("two", "three")


async def test_tag_that_moves_and_a_dangling_image_that_gets_a_name(
    containerd_address: Path,
) -> None:
    """The image that loses its name stays dangling; given a name it is that no longer."""
    async with open_engine(containerd_address) as engine:
        await load_small(engine, "one:latest", text="1")
        await load_small(engine, "two:latest", text="2")
        one = await engine.images.inspect("one")
        await engine.images.tag("two", "one")
        assert (await engine.images.inspect(one.id)).is_dangling
        again = await engine.images.tag(one.id, "back")
        assert [name.text for name in again.names] == ["docker.io/library/back:latest"]


async def test_image_in_use_is_kept_for_its_container(containerd_address: Path) -> None:
    """Refused without force; with it the name goes, the image stays, the root files too."""
    async with open_engine(containerd_address) as engine:
        await load_small(engine, "one:latest")
        image = await engine.images.inspect("one")
        await engine.images.prepare_rootfs(image, "c1", {"mine": "yes"})
        engine.users.uses[image.id] = [ImageUse(container_id="c" * 64, is_running=False)]
        with pytest.raises(Conflict, match="is using its referenced image"):
            await engine.images.remove("one")
        assert await engine.images.remove("one", force=True) == (Untagged(name="one:latest"),)
        assert (await engine.images.inspect(image.id)).is_dangling
        assert await engine.images.remove(image.id, force=True) == (Deleted(id=image.id),)
        await collect(engine.containerd)
        assert await engine.images.rootfs_mounts("c1")
        assert (await engine.containerd.snapshots.stat("c1")).labels["mine"] == "yes"
        await engine.images.remove_rootfs("c1")
        await collect(engine.containerd)
        assert (await engine.leftovers())["snapshots"] == []


async def test_changes_by_ctr_are_seen(containerd_address: Path) -> None:
    """What ctr tags is found at once; what it removes is gone a moment later."""
    async with open_engine(containerd_address) as engine:
        await load_small(engine, "one:latest")
        await engine.ctr(
            "images", "tag", "docker.io/library/one:latest", "docker.io/library/two:latest"
        )
        assert (await engine.images.resolve("two")).repo_tags == ("one:latest", "two:latest")
        await engine.ctr("images", "rm", "docker.io/library/one:latest")
        await engine.ctr("images", "rm", "docker.io/library/two:latest")
        with trio.fail_after(60):
            while await engine.images.list():
                await trio.sleep(0.05)
        with pytest.raises(NotFound):
            await engine.images.inspect("one")


@pytest.mark.parametrize("followed", [True, False])
async def test_age_of_the_list(
    containerd_address: Path, followed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Followed, containerd is asked again when it told of a change; not followed, each second."""
    monkeypatch.setattr(index, "MAX_AGE_S", math.inf if followed else 0.0)
    monkeypatch.setattr(index, "_LISTENING_AFTER_S", 0.0)
    async with open_engine(containerd_address, run=followed) as engine:
        await engine.images.list()
        await load_small(engine, "one:latest")
        await engine.ctr(
            "images", "tag", "docker.io/library/one:latest", "docker.io/library/two:latest"
        )
        with trio.fail_after(60):
            while len((await engine.images.list())[0].names) != 2:
                await trio.sleep(0.05)


async def test_image_that_ctr_left_packed_is_unpacked_when_it_is_needed(
    containerd_address: Path,
) -> None:
    """A root file system can be made of an image whose snapshots are gone."""
    async with open_engine(containerd_address) as engine:
        await load_small(engine, "one:latest")
        image = await engine.images.inspect("one")
        assert image.config_descriptor is not None
        label = {"containerd.io/gc.ref.snapshot.overlayfs": ""}
        await engine.containerd.content.update_labels(image.config_descriptor.digest, label)
        await collect(engine.containerd)
        assert (await engine.leftovers())["snapshots"] == []
        await engine.images.prepare_rootfs(image, "c1")
        with pytest.raises(Conflict):
            await engine.images.prepare_rootfs(image, "c1")
        await engine.images.remove_rootfs("c1")


async def test_newest_first(containerd_address: Path) -> None:
    """A list begins with the newest image."""
    async with open_engine(containerd_address) as engine:
        await load_small(engine, "old:latest", text="1", created="2020-01-01T00:00:00Z")
        await load_small(engine, "new:latest", text="2", created="2023-01-01T00:00:00Z")
        await load_small(engine, "mid:latest", text="3", created="2021-01-01T00:00:00+01:00")
        tags = [image.repo_tags[0] for image in await engine.images.list()]
        assert tags == ["new:latest", "mid:latest", "old:latest"]


async def test_events_are_in_the_history(containerd_address: Path, tmp_path: Path) -> None:
    """With the engine's own bus, a load is in the history of events, with the image's labels."""
    async with open_engine(containerd_address) as engine, trio.open_nursery() as nursery:
        store = Store(tmp_path / "state.db", migrations=[MIGRATION])
        await nursery.start(store.run)
        bus = EventBus(store)
        await nursery.start(bus.run)
        images = Images(containerd=engine.containerd, events=bus)
        image = TestImage(
            layers=[layer_with(a="b")], tags=("one:latest",), config={"Labels": {"k": "v"}}
        )
        await images.load(body_of(tar_of(docker_members(image))), ignore)
        async with bus.subscribe(since_ns=0) as events:
            event = await anext(aiter(events))
        assert isinstance(event, Event)
        assert (event.type, event.action, event.attributes["k"]) == ("image", "load", "v")
        nursery.cancel_scope.cancel()


async def test_a_lease_that_could_not_be_deleted_goes_later(
    containerd_address: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When containerd is away as a load ends, what the load left is taken away afterwards."""
    async with open_engine(containerd_address) as engine:
        before = await engine.leftovers()
        leases = WorkingLeases(engine.containerd)
        await leases.remove_leftovers()

        async def away(_id: str, *, sync: bool = False) -> None:
            raise Unavailable("containerd is away")

        with monkeypatch.context() as patch:
            patch.setattr(engine.containerd.leases, "delete", away)
            with pytest.raises(ZeroDivisionError):
                async with leases.hold():
                    raise ZeroDivisionError
        assert await engine.leftovers() != before
        async with leases.hold() as mine:
            await leases.remove_leftovers()
            assert (await engine.leftovers())["leases"] == [mine]
        assert await engine.leftovers() == before


async def test_ingests_without_a_name_are_tidied_away(containerd_address: Path) -> None:
    """A folder that containerd has left among its ingests goes with the rest; one in use stays."""
    ingests = containerd_address.parent / "root" / "io.containerd.content.v1.content" / "ingest"
    async with open_engine(containerd_address) as engine:
        left = ingests / "left"
        left.mkdir()
        (left / "updatedat").touch()
        os.utime(left, (0, 0))
        async with engine.containerd.content.writer("wharfinger-test") as writer:
            await writer.write(b"half")
            for one in ingests.iterdir():
                os.utime(one, (0, 0))
            await engine.images.clear_leftovers()
            assert not left.exists()
            await writer.write(b"whole")
            digest = await writer.commit()
        await engine.containerd.content.delete(digest)


async def test_catalog_is_the_same_object_while_nothing_changes(containerd_address: Path) -> None:
    """A list that was not changed costs one call, and no reading of documents."""
    async with open_engine(containerd_address) as engine:
        await load_small(engine, "one:latest")
        assert await engine.images.inspect("one") is await engine.images.inspect("one")
