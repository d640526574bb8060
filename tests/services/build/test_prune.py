"""What goes when build cache is pruned, in which order, and what stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from services.build.cache_mounts import CacheMounts, CacheWish
from services.build.cache_store import CacheRecord, CacheStore
from services.build.prune import BuildPruneFilters, CachePruner, PrunedCache
from services.build.prune_limits import KeptSteps, PruneLimits, oldest_first
from services.build.sharing import Sharing
from services.images.steps import BuildStep

ALL = BuildPruneFilters()
NO_LIMITS = PruneLimits()
LAYER_BYTES = 100


def step(key: str, used_at_ns: int) -> BuildStep:
    """One whose digest is its key."""
    return BuildStep(key=key, digest=key, description="", created_at_ns=0, used_at_ns=used_at_ns)


@dataclass
class Steps:
    """Steps that are kept; each layer takes LAYER_BYTES as long as a step has it."""

    kept: list[BuildStep]
    layers: dict[str, tuple[str, ...]]
    uncollected: set[str] = field(default_factory=set)

    async def list(self) -> Sequence[BuildStep]:
        return list(self.kept)

    async def drop(self, key: str, *, collect: bool) -> None:
        self.kept = [one for one in self.kept if one.key != key]
        self.uncollected = set() if collect else {*self.uncollected, key}

    async def look(self) -> KeptSteps:
        layers = {layer for one in self.kept for layer in self.layers[one.digest]}
        return KeptSteps(size_bytes=len(layers) * LAYER_BYTES, layers=self.layers)

    async def make(self, recipe: object, key: str, description: str) -> object:
        raise AssertionError

    async def find(self, key: str) -> None:
        raise AssertionError

    async def show(self, image: object, references: object) -> None:
        raise AssertionError

    async def replace(self, key: str, newer_key: str) -> None:
        raise AssertionError


def chains() -> Steps:
    """Two builds of the same beginning: a1 <- a2 <- a3, a1 <- b2; the second was used later."""
    layers = {"a1": ("1",), "a2": ("1", "2"), "a3": ("1", "2", "3"), "b2": ("1", "4")}
    times = {"a1": 40, "a2": 20, "a3": 30, "b2": 50}
    return Steps([step(key, at) for key, at in times.items()], layers)


async def pruned(
    steps: Steps,
    tmp_path: Path,
    filters: BuildPruneFilters = ALL,
    limits: PruneLimits = NO_LIMITS,
    *,
    used: Sequence[str] = (),
    free: int = 0,
) -> PrunedCache:
    """Prune them, and one cache of 50 bytes that was used last."""

    async def fill(directory: Path) -> None:
        (directory / "f").write_bytes(bytes(50))

    async def free_bytes() -> int:
        return free

    cleared = trio.Event()
    cleared.set()
    caches = CacheMounts(CacheStore(tmp_path / "c"), cleared=cleared, disk=trio.CapacityLimiter(4))
    wish = CacheWish(key="k", sharing=Sharing.SHARED, description="", fill=fill)
    async with caches.held([wish]):
        pass
    pruner = CachePruner(
        steps=steps,  # type: ignore[arg-type]
        caches=caches,
        in_use=lambda: used,
        look=steps.look,
        free_bytes=free_bytes,
    )
    return await pruner.prune(filters, limits)


async def test_everything_goes(tmp_path: Path) -> None:
    """And what it took is collected when that is said."""
    steps = chains()
    result = await pruned(steps, tmp_path)
    assert result.keys[:4] == ["a3", "a2", "b2", "a1"]
    assert (len(result.keys), result.reclaimed_bytes, steps.kept) == (5, 450, [])


async def test_what_is_in_use_stays(tmp_path: Path) -> None:
    """With what it is made of."""
    result = await pruned(chains(), tmp_path, used=["a2"])
    assert result.keys[:3] == ["a3", "b2", "a1"]
    assert result.reclaimed_bytes == 250


@pytest.mark.parametrize(
    ("limits", "free", "keys"),
    [
        (PruneLimits(max_used_bytes=450), 0, []),
        (PruneLimits(max_used_bytes=449), 0, ["a3"]),
        (PruneLimits(max_used_bytes=300), 0, ["a3", "a2"]),
        (PruneLimits(reserved_bytes=250), 0, ["a3", "a2"]),
        (PruneLimits(max_used_bytes=100, reserved_bytes=400), 0, ["a3"]),
        (PruneLimits(min_free_bytes=1000), 1000, []),
        (PruneLimits(min_free_bytes=1000), 900, ["a3"]),
        (PruneLimits(min_free_bytes=1000, reserved_bytes=400), 500, ["a3"]),
    ],
)
async def test_limits(tmp_path: Path, limits: PruneLimits, free: int, keys: list[str]) -> None:
    """As little goes as is asked for; nothing that is used goes for nothing."""
    steps = chains()
    result = await pruned(steps, tmp_path, limits=limits, free=free)
    assert result.keys == keys
    assert result.reclaimed_bytes == 100 * len(keys)
    assert steps.uncollected == set()


async def test_filters(tmp_path: Path) -> None:
    """By type, by the beginning of a name, by time."""
    only_caches = await pruned(chains(), tmp_path / "1", replace(ALL, types=("exec.cachemount",)))
    assert (len(only_caches.keys), only_caches.reclaimed_bytes) == (1, 50)
    only_steps = await pruned(chains(), tmp_path / "2", replace(ALL, types=("regular",)))
    assert len(only_steps.keys) == 4
    named = await pruned(chains(), tmp_path / "3", replace(ALL, ids=("a", "no")))
    assert [key for key in named.keys if len(key) == 2] == ["a3", "a2", "a1"]
    old = await pruned(chains(), tmp_path / "4", replace(ALL, before_ns=40))
    assert old.keys == ["a3", "a2"]


LAYERS = st.lists(st.sampled_from("ab"), max_size=4).map(tuple)


@given(st.lists(st.tuples(LAYERS, st.integers(0, 9)), max_size=8), st.lists(st.integers(0, 9)))
def test_the_order(steps: list[tuple[tuple[str, ...], int]], caches: list[int]) -> None:
    """Nobody goes before who stands on it; all go, and what nobody stands on by its time."""
    layers = {str(number): own for number, (own, _) in enumerate(steps)}
    records = [
        CacheRecord(name=str(n), key="", description="", created_at_ns=0, used_at_ns=at)
        for n, at in enumerate(caches)
    ]
    found = oldest_first([step(str(n), at) for n, (_, at) in enumerate(steps)], records, layers)
    assert len(found) == len(steps) + len(caches)
    gone: list[tuple[str, ...]] = []
    for one in found:
        if isinstance(one, BuildStep):
            own = layers[one.key]
            assert not any(len(own) > len(earlier) and own[: len(earlier)] == earlier
                           for earlier in gone)  # fmt: skip
            gone.append(own)
    times = [one.used_at_ns for one in found if isinstance(one, CacheRecord)]
    assert times == sorted(times)
