"""One sample a second for all readers of a container, and none for nobody."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from services.containers import Container, State
from services.containers.model import Status
from services.containers.stats import CpuUsage, MemoryUsage, PidsUsage, Sample, Statistics
from tests.services.api.containers import container, running


class Source:
    """Numbers its samples; `gone` makes the files disappear."""

    def __init__(self) -> None:
        self.count = 0
        self.gone = False

    def read(self, container: Container) -> Sample:
        """The next sample; its time is its number."""
        if self.gone:
            raise FileNotFoundError(container.id)
        self.count += 1
        return Sample(
            read_ns=self.count,
            cpu=CpuUsage(),
            memory=MemoryUsage(),
            pids=PidsUsage(),
            io_service_bytes=(),
            io_serviced=None,
            networks={},
        )


async def test_all_readers_get_the_same_samples(autojump_clock: MockClock) -> None:
    """Twenty readers for three samples: three looks, two seconds."""
    source, one = Source(), container(status=running())
    statistics = Statistics(source)
    seen: list[list[int]] = []

    async def read() -> None:
        with statistics.subscribe(one) as reader:
            samples = [await reader.next() for _ in range(3)]
            seen.append([sample.read_ns for sample in samples if sample])

    begun = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(read)
    assert seen == [[1, 2, 3]] * 20
    assert trio.current_time() - begun == 2.0
    assert statistics.is_idle


async def test_a_reader_that_leaves_leaves_the_others_theirs(autojump_clock: MockClock) -> None:
    """Cancelled in the middle of the wait that it did for all."""
    source, one = Source(), container(status=running())
    statistics = Statistics(source)
    with statistics.subscribe(one) as stays:
        async with trio.open_nursery() as nursery:

            async def leave() -> None:
                with trio.move_on_after(1.5), statistics.subscribe(one) as leaves:
                    while True:
                        await leaves.next()

            nursery.start_soon(leave)
            await trio.sleep(0.1)
            samples = [await stays.next() for _ in range(4)]
    assert [sample.read_ns for sample in samples if sample] == [1, 2, 3, 4]


async def test_a_slow_reader_gets_a_fresh_sample(autojump_clock: MockClock) -> None:
    """Nothing is sampled while it is away, and it is not given what is old."""
    source, one = Source(), container(status=running())
    statistics = Statistics(source)
    with statistics.subscribe(one) as reader, statistics.subscribe(one) as late:
        await reader.next()
        await trio.sleep(600)
        sample = await late.next()
    assert sample is not None
    assert (sample.read_ns, source.count) == (2, 2)


async def test_a_container_without_a_task_has_no_sample(autojump_clock: MockClock) -> None:
    """Stopped, or ended just now; its files are not asked for in the first case."""
    source = Source()
    one = container(status=Status(state=State.EXITED))
    statistics = Statistics(source)
    with statistics.subscribe(one) as reader:
        assert await reader.next() is None
        assert source.count == 0
        one.replace(status=running())
        assert await reader.next() is not None
        source.gone = True
        assert await reader.next() is None
