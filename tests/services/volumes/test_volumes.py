"""services.volumes.Volumes on a real store and real directories, killed where it matters."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from services.containerd import Mount
from services.errors import Conflict, EngineError, InvalidParameter, NotFound
from services.events import MIGRATION as EVENTS
from services.events import Event, EventBus
from services.store import Store
from services.volumes import MIGRATION, VolumeFilters, VolumeRequest, Volumes
from services.volumes.directories import VolumeDirectories

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files away")

Uses = dict[str, list[str]]
ALL = VolumeFilters()


class Engine:
    """Volumes, with what they stand on."""

    def __init__(self, folder: Path, uses: Uses) -> None:
        self.store = Store(folder / "state.db", [EVENTS, MIGRATION])
        self.bus = EventBus(self.store)
        self.root = folder / "volumes"
        self.volumes = Volumes(
            store=self.store,
            events=self.bus,
            root=self.root,
            uses=lambda: uses,
            disk=trio.CapacityLimiter(4),
        )

    async def names(self) -> list[str]:
        """All volumes."""
        return [volume.name for volume in await self.volumes.select(ALL)]

    async def told(self) -> list[tuple[str, str]]:
        """All events so far: action and name."""
        async with self.bus.subscribe(since_ns=0, until_ns=2**62) as channel:
            with trio.move_on_after(30):
                return [
                    (item.action, item.actor_id)
                    for item in [await channel.receive() for _ in range(self.bus.tail)]
                    if isinstance(item, Event)
                ]
        raise AssertionError("events are missing")


@asynccontextmanager
async def running(folder: Path, uses: Uses | None = None) -> AsyncIterator[Engine]:
    """An engine on `folder`; left as a kill leaves it."""
    engine = Engine(folder, uses if uses is not None else {})
    async with trio.open_nursery() as nursery:
        for part in (engine.store, engine.bus, engine.volumes):
            await nursery.start(part.run)
        yield engine
        nursery.cancel_scope.cancel()


def rootfs(folder: Path) -> list[Mount]:
    """A root file system of one directory."""
    return [Mount(type="bind", source=str(folder), options=("rbind", "ro"))]


async def test_life_of_a_volume(tmp_path: Path) -> None:
    """Made, found again by the next daemon with all that it is, removed with its data."""
    async with running(tmp_path) as engine:
        request = VolumeRequest(name="data", labels={"a": "b"})
        made = await engine.volumes.create(request)
        assert await engine.volumes.create(VolumeRequest(name="data")) == made
        place = engine.volumes.place("data")
        (place / "file").write_text("kept")
        assert place.stat().st_mode & 0o777 == 0o755
    async with running(tmp_path) as engine:
        assert await engine.volumes.get("data") == made
        assert (place / "file").read_text() == "kept"
        await engine.volumes.remove("data")
        assert list(engine.root.iterdir()) == []
        with pytest.raises(NotFound, match="get data: no such volume"):
            await engine.volumes.remove("data")
        await engine.volumes.remove("data", force=True)
        assert await engine.told() == [("create", "data"), ("destroy", "data")]


async def test_a_volume_in_use_stays(tmp_path: Path) -> None:
    """The refusal names the containers; a prune passes over it."""
    uses: Uses = {"data": ["c2", "c1"]}
    async with running(tmp_path, uses) as engine:
        await engine.volumes.create(VolumeRequest(name="data"))
        with pytest.raises(Conflict, match=r"remove data: volume is in use - \[c1, c2\]"):
            await engine.volumes.remove("data")
        assert (await engine.volumes.prune(ALL, named=True)).names == []
        await engine.volumes.remove_anonymous(["data"], container_id="c1")
        assert await engine.names() == ["data"]
        uses["data"] = ["c1"]
        await engine.volumes.remove_anonymous(["data"], container_id="c1")
        assert await engine.names() == []


async def test_prune_takes_anonymous_ones_and_tells_bytes(tmp_path: Path) -> None:
    """Named ones only if asked; never those with options."""
    async with running(tmp_path) as engine:
        anonymous = await engine.volumes.create(VolumeRequest())
        await engine.volumes.create(VolumeRequest(name="named"))
        options = {"type": "tmpfs", "device": "tmpfs"}
        await engine.volumes.create(VolumeRequest(name="mounted", options=options))
        (engine.volumes.place(anonymous.name) / "file").write_bytes(b"x" * 5000)
        pruned = await engine.volumes.prune(ALL, named=False)
        assert (pruned.names, pruned.reclaimed_bytes) == ([anonymous.name], 5000)
        assert (await engine.volumes.prune(ALL, named=True)).names == ["named"]
        assert await engine.names() == ["mounted"]


async def test_what_a_failed_create_made_goes_again(tmp_path: Path) -> None:
    """What was there before stays; nobody can remove either meanwhile."""
    async with running(tmp_path) as engine:
        await engine.volumes.create(VolumeRequest(name="old"))
        requests = [VolumeRequest(name=name) for name in ("old", "new", "")]
        with pytest.raises(ZeroDivisionError):
            async with engine.volumes.provided("c1", requests) as provided:
                assert len(provided.volumes) == 3
                for name in ("old", "new"):
                    with pytest.raises(Conflict, match="in use"):
                        await engine.volumes.remove(name)
                raise ZeroDivisionError
        assert await engine.names() == ["old"]
        with pytest.raises(InvalidParameter):
            async with engine.volumes.provided("c1", [VolumeRequest(name="x")]):
                pytest.fail("not reached")
        await engine.volumes.remove("old")


async def test_kill_while_a_container_is_made(tmp_path: Path) -> None:
    """Without the container's record its new volumes are reclaimed, with it they stay."""
    for is_recorded in (False, True):
        folder = tmp_path / str(is_recorded)
        folder.mkdir()
        with pytest.raises(BaseExceptionGroup):
            async with (
                running(folder) as engine,
                engine.volumes.provided("c1", [VolumeRequest(name="new")]) as provided,
            ):
                if is_recorded:
                    await engine.store.write(provided.claim)
                engine.volumes._remove = _killed  # type: ignore[method-assign]
                raise SystemExit
        async with running(folder) as engine:
            await engine.volumes.reclaim(lambda _: False)
            assert await engine.names() == (["new"] if is_recorded else [])


async def _killed(name: str, *, besides: str = "") -> None:
    """A daemon that is killed undoes nothing."""


@pytest.mark.parametrize("step", ["set_aside", "delete_tree"])
async def test_kill_in_a_removal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Once begun it is finished by the next daemon, data and all."""
    with pytest.raises(BaseExceptionGroup), monkeypatch.context() as patch:
        async with running(tmp_path) as engine:
            await engine.volumes.create(VolumeRequest(name="data"))
            (engine.volumes.place("data") / "file").touch()
            if step == "set_aside":
                patch.setattr(VolumeDirectories, step, _die)
            else:
                patch.setattr("services.volumes.catalog.delete_tree", _die)
            await engine.volumes.remove("data")
    async with running(tmp_path) as engine:
        assert await engine.names() == []
        with trio.fail_after(60):
            while list(engine.root.iterdir()):
                await trio.sleep(0.01)


def _die(*_: Any) -> Any:
    raise SystemExit


async def test_directories_without_records_are_taken_up(tmp_path: Path) -> None:
    """Data is never deleted because a record is missing."""
    data = tmp_path / "volumes/orphan/_data"
    data.mkdir(parents=True)
    (data / "file").write_text("kept")
    (tmp_path / "volumes/no-volume").mkdir()
    async with running(tmp_path) as engine:
        assert await engine.names() == ["orphan"]
        await engine.volumes.reclaim(lambda _: False)
        assert (engine.volumes.place("orphan") / "file").read_text() == "kept"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A root file system with files to copy, of an owner and a mode of their own."""
    root = tmp_path / "image"
    (root / "srv/data/sub").mkdir(parents=True)
    (root / "srv/data/file").write_text("from the image")
    (root / "srv/data").chmod(0o750)
    os.chown(root / "srv/data", 70, 71)
    (root / "srv/bare").mkdir(mode=0o700)
    os.chown(root / "srv/bare", 80, 81)
    (root / "srv/link").symlink_to("/srv/data")
    (root / "srv/out").symlink_to("../../../../../../etc")
    (root / "srv/plain").touch()
    return root


async def test_an_empty_volume_is_filled_once(tmp_path: Path, image: Path) -> None:
    """With the files and the owner of the directory; later, what is in it stays."""
    async with running(tmp_path) as engine:
        await engine.volumes.create(VolumeRequest(name="data"))
        place = engine.volumes.place("data")
        await engine.volumes.fill("data", rootfs(image), "/srv/link")
        assert sorted(p.name for p in place.iterdir()) == ["file", "sub"]
        assert (place.stat().st_uid, place.stat().st_gid) == (70, 71)
        assert place.stat().st_mode & 0o777 == 0o750
        assert sorted(p.name for p in place.parent.iterdir()) == ["_data"]
        (place / "file").unlink()
        await engine.volumes.fill("data", rootfs(image), "/srv/data")
        assert sorted(p.name for p in place.iterdir()) == ["sub"]


async def test_what_the_image_has_not_is_not_copied(tmp_path: Path, image: Path) -> None:
    """No such directory, an empty one, one outside the root, and a file, which is refused."""
    async with running(tmp_path) as engine:
        await engine.volumes.create(VolumeRequest(name="data"))
        place = engine.volumes.place("data")
        for path in ("/nowhere", "/srv/out"):
            await engine.volumes.fill("data", rootfs(image), path)
            assert place.stat().st_uid == 0
        await engine.volumes.fill("data", rootfs(image), "/srv/bare")
        assert (place.stat().st_uid, list(place.iterdir())) == (80, [])
        with pytest.raises(InvalidParameter, match="file exists /srv/plain"):
            await engine.volumes.fill("data", rootfs(image), "/srv/plain")


@pytest.mark.parametrize(("step", "is_full"), [("_make_staging", False), ("_move_entries", True)])
async def test_kill_in_a_fill(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch, step: str, is_full: bool
) -> None:
    """The volume is empty or full, never half full; nothing is left beside it."""
    original: Callable[..., Any] = getattr(
        __import__("services.volumes.copy_up", fromlist=[step]), step
    )

    def die_after(*arguments: Any) -> None:
        if step == "_make_staging":
            original(*arguments)
        raise SystemExit

    with pytest.raises(BaseExceptionGroup), monkeypatch.context() as patch:
        async with running(tmp_path) as engine:
            await engine.volumes.create(VolumeRequest(name="data"))
            patch.setattr(f"services.volumes.copy_up.{step}", die_after)
            await engine.volumes.fill("data", rootfs(image), "/srv/data")
    async with running(tmp_path) as engine:
        place = engine.volumes.place("data")
        expected = ["file", "sub"] if is_full else []
        assert sorted(p.name for p in place.iterdir()) == expected
        assert sorted(p.name for p in place.parent.iterdir()) == ["_data"]


async def test_options_are_mounted_for_their_first_user(tmp_path: Path) -> None:
    """And unmounted after the last; a stale mount is found by the next daemon."""
    options = {"type": "tmpfs", "device": "tmpfs", "o": "size=64k"}
    async with running(tmp_path) as engine:
        await engine.volumes.create(VolumeRequest(name="fast", options=options))
        place = engine.volumes.place("fast")
        await engine.volumes.acquire("c1", ["fast"])
        await engine.volumes.acquire("c2", ["fast"])
        assert os.path.ismount(place)
        await engine.volumes.release("c1")
        with pytest.raises(Conflict, match=r"in use - \[c2\]"):
            await engine.volumes.remove("fast")
        await engine.volumes.release("c2")
        assert not os.path.ismount(place)
        await engine.volumes.acquire("c1", ["fast"])
    try:
        async with running(tmp_path) as engine:
            engine.volumes.adopt("c1", ["fast"])
            await engine.volumes.reclaim(lambda _: True)
            assert os.path.ismount(place)
            await engine.volumes.release("c1")
            assert not os.path.ismount(place)
            await engine.volumes.remove("fast")
    finally:
        if os.path.ismount(place):
            os.system(f"umount {place}")


async def test_a_mount_that_fails_says_why(tmp_path: Path) -> None:
    """In dockerd's frame, with the kernel's reason."""
    options = {"type": "nosuch", "device": "d"}
    async with running(tmp_path) as engine:
        await engine.volumes.create(VolumeRequest(name="bad", options=options))
        with pytest.raises(EngineError, match=r"local volume: mount d:.*: special device d"):
            await engine.volumes.acquire("c1", ["bad"])
        await engine.volumes.remove("bad")
