"""Sizes: sums over layers, each asked for once, a few at a time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest
import trio
import trio.testing

from services.containers.sizes import AT_ONCE, Size, Sizes
from services.errors import NotFound
from tests.services.api.containers import container


@dataclass(frozen=True)
class Snapshot:
    """Both of what is asked of one."""

    size_bytes: int
    parent: str


@dataclass
class Snapshots:
    """A snapshotter; counts the questions."""

    held: dict[str, Snapshot]
    asked: Counter[str] = field(default_factory=Counter)
    at_work: int = 0
    most_at_work: int = 0

    async def usage(self, key: str) -> Snapshot:
        """Takes a second."""
        self.asked[key] += 1
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        await trio.sleep(1)
        self.at_work -= 1
        return await self.stat(key)

    async def stat(self, key: str) -> Snapshot:
        """NotFound for one that is not held."""
        if key not in self.held:
            raise NotFound(key)
        return self.held[key]


IMAGE = {"top": Snapshot(30, "base"), "base": Snapshot(100, "")}


async def test_a_size_is_the_sum_of_the_layers(autojump_clock: trio.testing.MockClock) -> None:
    """What the container wrote, and that with all below."""
    one = container("1")
    sizes = Sizes(Snapshots({one.id: Snapshot(7, "top"), **IMAGE}))
    assert await sizes.of(one) == Size(written_bytes=7, total_bytes=137)
    assert await sizes.written_bytes(one) == 7


async def test_many_are_measured_a_few_at_a_time(autojump_clock: trio.testing.MockClock) -> None:
    """However many there are; those removed meanwhile are left out."""
    containers = [container(f"1{n:02}") for n in range(30)]
    snapshots = Snapshots({c.id: Snapshot(1, "top") for c in containers[1:]} | IMAGE)
    found = await Sizes(snapshots).of_all(containers)
    assert found == {c.id: Size(written_bytes=1, total_bytes=131) for c in containers[1:]}
    assert snapshots.most_at_work == AT_ONCE
    assert snapshots.asked["base"] <= AT_ONCE, "layers are not asked for again"


async def test_a_container_that_is_gone_has_no_size(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """An inspect says so."""
    with pytest.raises(NotFound):
        await Sizes(Snapshots({})).of(container("1"))
