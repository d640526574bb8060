"""Caches of commands: who gets which, what is kept, what a crash leaves, what is deleted."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing

from services.build.cache_mounts import Busy, Cache, CacheMounts, CacheWish, choose
from services.build.cache_store import CacheRecord, CacheStore
from services.build.sharing import Sharing
from services.errors import EngineError


async def fill_nothing(_directory: Path) -> None:
    """An empty cache."""


SHARED = CacheWish(key="k", sharing=Sharing.SHARED, description="d", fill=fill_nothing)
PRIVATE = replace(SHARED, sharing=Sharing.PRIVATE)
LOCKED = replace(SHARED, sharing=Sharing.LOCKED)


def opened(root: Path) -> CacheMounts:
    """Of an engine that has just started."""
    cleared = trio.Event()
    cleared.set()
    return CacheMounts(CacheStore(root), cleared=cleared, disk=trio.CapacityLimiter(4))


def cache(used_at_ns: int, users: int, is_shared: bool) -> Cache:
    """One of those to choose from."""
    record = CacheRecord(
        name=str(used_at_ns), key="k", description="", created_at_ns=0, used_at_ns=used_at_ns
    )
    return Cache(record, users=users, is_shared=is_shared)


KINDS = ((0, False), (1, True), (2, True), (1, False))


@pytest.mark.parametrize("sharing", list(Sharing))
@pytest.mark.parametrize("kinds", list(itertools.product(KINDS, repeat=2)))
def test_choices(sharing: Sharing, kinds: Sequence[tuple[int, bool]]) -> None:
    """Every pair of caches: nobody joins one that is not shared, or waits for nothing."""
    caches = [cache(number, *kind) for number, kind in enumerate(kinds)]
    free = [one for one in caches if not one.users]
    joined = [one for one in caches if one.users and one.is_shared]
    if sharing is Sharing.LOCKED and not free:
        with pytest.raises(Busy):
            choose(caches, sharing)
        return
    found = choose(caches, sharing)
    allowed = joined or free if sharing is Sharing.SHARED else free
    assert found is (allowed[-1] if allowed else None)  # the one that was used last


async def test_equal_wishes_of_one_command_get_one_cache(tmp_path: Path) -> None:
    """Even a locked one: a command does not wait for itself."""
    mounts = opened(tmp_path / "c")
    with trio.fail_after(30):
        async with mounts.held([LOCKED, replace(LOCKED, key="other"), LOCKED]) as places:
            assert places[0] == places[2] != places[1]
            assert [one.is_used for one in await mounts.usage()] == [True, True]


async def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    """The next one comes when the first has left, and finds what it wrote."""
    mounts = opened(tmp_path / "c")
    seen: list[str] = []

    async def use(name: str) -> None:
        async with mounts.held([LOCKED]) as (place,):
            seen.append(f"{name} in")
            assert sorted(one.name for one in place.iterdir()) == sorted(
                one.split()[0] for one in seen if one.endswith("out")
            )
            (place / name).touch()
            await trio.testing.wait_all_tasks_blocked()
            seen.append(f"{name} out")

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for name in "abc":
                nursery.start_soon(use, name)
    assert [one.split()[1] for one in seen] == ["in", "out"] * 3
    assert len(await mounts.usage()) == 1


async def test_who_waits_can_leave(tmp_path: Path) -> None:
    """A cancelled wait takes nothing with it."""
    mounts = opened(tmp_path / "c")
    async with mounts.held([LOCKED]):
        with trio.move_on_after(0.05) as scope:
            async with mounts.held([LOCKED]):
                raise AssertionError("it is another one's")
        assert scope.cancelled_caught
    with trio.fail_after(30):
        async with mounts.held([LOCKED]):
            pass


async def test_shared_is_joined_private_is_not(tmp_path: Path) -> None:
    """Three at once, one of them alone; later all use the same again."""
    mounts = opened(tmp_path / "c")
    async with (
        mounts.held([SHARED]) as one,
        mounts.held([PRIVATE]) as two,
        mounts.held([SHARED]) as three,
    ):
        assert one == three != two
    assert len(await mounts.usage()) == 2
    async with mounts.held([PRIVATE]):
        assert sorted(one.is_used for one in await mounts.usage()) == [False, True]
    assert len(await mounts.usage()) == 2


async def test_caches_outlive_the_engine(tmp_path: Path) -> None:
    """With their content and counts; what a kill left half done is none, and goes."""
    root = tmp_path / "c"
    async with opened(root).held([SHARED]) as (place,):
        (place / "f").write_text("kept")
    for name in (".new-1", ".gone-1", "strange"):
        (root / name / "data").mkdir(parents=True)
    (root / "strange/about.json").write_text("{")
    mounts = opened(root)
    (usage,) = await mounts.usage()
    assert (usage.size_bytes, usage.record.use_count, usage.is_used) == (4, 1, False)
    assert [one.name for one in root.iterdir()] == [usage.record.name]
    async with mounts.held([LOCKED]) as (place,):
        assert (place / "f").read_text() == "kept"
    (again,) = await opened(root).usage()
    assert again.record.use_count == 2
    assert again.record.used_at_ns > usage.record.used_at_ns


async def test_what_is_used_is_not_deleted(tmp_path: Path) -> None:
    """And what is deleted is made anew."""
    mounts = opened(tmp_path / "c")
    async with AsyncExitStack() as stack:
        (place,) = await stack.enter_async_context(mounts.held([SHARED]))
        (place / "f").write_text("12345")
        assert await mounts.remove(lambda _record: True) == []
    assert await mounts.remove(lambda record: record.key == "another") == []
    ((name, freed),) = await mounts.remove(lambda _record: True)
    assert (place.parent.name, freed) == (name, 5)
    async with mounts.held([LOCKED]) as (place,):
        assert list(place.iterdir()) == []


async def test_a_beginning_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """Neither a cache nor a directory; the next one may try again."""

    async def fail(directory: Path) -> None:
        (directory / "half").touch()
        raise EngineError("no")

    mounts = opened(tmp_path / "c")
    with pytest.raises(EngineError, match="no"):
        async with mounts.held([replace(LOCKED, fill=fail)]):
            raise AssertionError("it has no beginning")
    assert list((tmp_path / "c").iterdir()) == []
    async with mounts.held([LOCKED]) as (place,):
        assert list(place.iterdir()) == []


async def test_nobody_has_one_before_the_last_engines_commands_are_gone(tmp_path: Path) -> None:
    """They may still write to it."""
    store, cleared = CacheStore(tmp_path / "c"), trio.Event()
    mounts = CacheMounts(store, cleared=cleared, disk=trio.CapacityLimiter(4))
    with trio.move_on_after(0.05) as scope:
        async with mounts.held([SHARED]):
            raise AssertionError("they still run")
    assert scope.cancelled_caught
    cleared.set()
    async with mounts.held([SHARED]):
        pass
