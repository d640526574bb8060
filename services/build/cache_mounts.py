"""Who has which cache of `RUN --mount=type=cache`: shared, one each, or one after the other.

Nothing of this is kept: an engine that starts anew has no builds, and hands out what is on disk
once the containers of those that were killed are gone.

Source: BuildKit, solver/llbsolver/mounts (getRefCacheDir), for what each kind of sharing gets.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, TypeVar, assert_never

import msgspec
import trio

from services.errors import EngineError

from .cache_store import DATA, NAME_CHARS, CacheRecord, CacheStore
from .sharing import Sharing

T = TypeVar("T")

UNDO_LIMIT_S: Final = 60.0

Fill = Callable[[Path], Awaitable[None]]
"""Puts the first files into a cache's directory, and gives it its owner and permissions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheWish:
    """What a mount asks for. `key` is the same for all mounts that mean the same cache."""

    key: str
    sharing: Sharing
    description: str
    fill: Fill


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheUsage:
    """One cache as `docker system df` shows it."""

    record: CacheRecord
    size_bytes: int
    is_used: bool


@dataclass(slots=True)
class Cache:
    """One cache and how many use it now; `is_shared`: others may join them."""

    record: CacheRecord
    users: int = 0
    is_shared: bool = False


@dataclass(slots=True)
class _Family:
    """All caches of one key. `lock` is held while one of them is chosen or made."""

    caches: list[Cache] = field(default_factory=list)
    lock: trio.Lock = field(default_factory=trio.Lock)
    freed: trio.Event = field(default_factory=trio.Event)
    wanted: int = 0  # how many are in `_claim`


class Busy(Exception):
    """The cache is another one's; it is worth waiting for."""


def choose(caches: Sequence[Cache], sharing: Sharing) -> Cache | None:
    """The cache to use, the one that was used last first; None: a new one is to be made.

    Raises:
        Busy: somebody has to give one back first.
    """
    latest = sorted(caches, key=lambda cache: -cache.record.used_at_ns)
    free = next((cache for cache in latest if not cache.users), None)
    match sharing:
        case Sharing.SHARED:
            return next((cache for cache in latest if cache.users and cache.is_shared), free)
        case Sharing.PRIVATE:
            return free
        case Sharing.LOCKED:
            if free is None and caches:
                raise Busy
            return free
    assert_never(sharing)


class CacheMounts:
    """Hands caches out, and deletes those that nobody has."""

    def __init__(
        self, store: CacheStore, *, cleared: trio.Event, disk: trio.CapacityLimiter
    ) -> None:
        """`cleared`: nothing that an earlier engine has started uses any of them any more."""
        self._store, self._cleared, self._disk = store, cleared, disk
        self._families: dict[str, _Family] = {}
        self._is_loaded = False
        self._loading = trio.Lock()

    @asynccontextmanager
    async def held(self, wishes: Sequence[CacheWish]) -> AsyncIterator[list[Path]]:
        """A cache for each wish, in their order; equal keys get the same one.

        Raises:
            EngineError: the disk does not take a new one.

        A wish to lock waits as long as it takes: the one who has the cache is a command of a build,
        whose end nobody knows, and who gives up waiting cancels its build.
        """
        await self._cleared.wait()
        await self._load()
        found: dict[str, Path] = {}
        async with AsyncExitStack() as stack:
            # In one order everywhere: two commands never wait for each other.
            for wish in sorted(wishes, key=lambda one: one.key):
                if wish.key not in found:
                    cache = await stack.enter_async_context(self._held(wish))
                    found[wish.key] = self._store.data(cache.record.name)
            yield [found[wish.key] for wish in wishes]

    async def usage(self) -> list[CacheUsage]:
        """All caches, the one that was used last first."""
        await self._load()
        found = [
            CacheUsage(
                record=cache.record,
                size_bytes=await self._run(partial(self._store.size_bytes, cache.record.name)),
                is_used=cache.users > 0,
            )
            for cache in self._all()
        ]
        return sorted(found, key=lambda one: -one.record.used_at_ns)

    async def remove(self, going: Callable[[CacheRecord], bool]) -> list[tuple[str, int]]:
        """Delete those that are chosen and that nobody has; their names, and the bytes of each."""
        await self._load()
        removed: list[tuple[str, int]] = []
        for cache in self._all():
            family = self._of(cache.record.key)
            if cache in family.caches and not cache.users and going(cache.record):
                family.caches.remove(cache)  # nobody gets it from now on
                self._forget(cache.record.key)
                name = cache.record.name
                removed.append((name, await self._run(partial(self._store.remove, name))))
        return removed

    async def _load(self) -> None:
        """Read what is there, once."""
        async with self._loading:
            if not self._is_loaded:
                for record in await self._run(self._store.load):
                    self._of(record.key).caches.append(Cache(record))
                self._is_loaded = True

    def _all(self) -> list[Cache]:
        return [one for family in self._families.values() for one in family.caches]

    def _of(self, key: str) -> _Family:
        return self._families.setdefault(key, _Family())

    def _forget(self, key: str) -> None:
        """Without caches and without anybody who waits, a key is nothing."""
        family = self._of(key)
        if not family.caches and not family.wanted:
            del self._families[key]

    @asynccontextmanager
    async def _held(self, wish: CacheWish) -> AsyncIterator[Cache]:
        cache = await self._claim(wish)
        try:
            async with self._of(wish.key).lock:  # one at a time writes it down
                with _disk_errors():
                    await self._run(partial(self._store.note, cache.record))
            yield cache
        finally:
            cache.users -= 1
            family = self._of(wish.key)
            family.freed.set()
            family.freed = trio.Event()

    async def _claim(self, wish: CacheWish) -> Cache:
        """A cache that is ours until its `users` is one less."""
        family = self._of(wish.key)
        family.wanted += 1
        try:
            while True:
                async with family.lock:
                    freed = family.freed
                    try:
                        cache = choose(family.caches, wish.sharing)
                    except Busy:
                        pass
                    else:
                        if cache is None:
                            cache = Cache(await self._make(wish))
                            family.caches.append(cache)
                        return _taken(cache, wish.sharing)
                await freed.wait()
        finally:
            family.wanted -= 1
            self._forget(wish.key)

    async def _make(self, wish: CacheWish) -> CacheRecord:
        now_ns = time.time_ns()
        record = CacheRecord(
            name=secrets.token_hex(NAME_CHARS)[:NAME_CHARS],
            key=wish.key,
            description=wish.description,
            created_at_ns=now_ns,
            used_at_ns=now_ns,
            use_count=0,
        )
        with _disk_errors():
            aside = await self._run(self._store.begin)
            try:
                await wish.fill(aside / DATA)
                # Not cancelled in between: what was made must be known.
                with trio.CancelScope(shield=True):
                    await self._run(partial(self._store.finish, aside, record))
            except BaseException:
                with trio.move_on_after(UNDO_LIMIT_S, shield=True):
                    await self._run(partial(self._store.give_up, aside))
                raise
        return record

    async def _run(self, call: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(call, limiter=self._disk)


def _taken(cache: Cache, sharing: Sharing) -> Cache:
    if not cache.users:
        cache.is_shared = sharing is Sharing.SHARED
    cache.users += 1
    cache.record = msgspec.structs.replace(
        cache.record, used_at_ns=time.time_ns(), use_count=cache.record.use_count + 1
    )
    return cache


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EngineError(f"cannot make a build cache: {error.strerror}") from error
