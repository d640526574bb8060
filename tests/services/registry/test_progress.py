"""Boards: what watchers see of an operation, however slowly they look."""

from __future__ import annotations

import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from services.registry.progress import Board, Line


async def drained(board: Board) -> list[Line]:
    return [line async for lines in board.watch() for line in lines]


async def test_every_watcher_sees_the_end(autojump_clock: trio.testing.MockClock) -> None:
    """One that is quick, one that comes late, and one that looks once a second."""
    board, seen = Board(), dict[str, list[Line]]()

    async def quick() -> None:
        seen["quick"] = await drained(board)

    async def slow() -> None:
        lines: list[Line] = []
        async for some in board.watch():
            lines += some
            await trio.sleep(1)
        seen["slow"] = lines

    async with trio.open_nursery() as nursery:
        nursery.start_soon(quick)
        nursery.start_soon(slow)
        board.message("Pulling")
        for done in range(100):
            board.count("a", "Downloading", done, 100)
            await trio.sleep(0.02)
        board.action("a", "Pull complete")
        board.message("Status: done")
        board.close()
    seen["late"] = await drained(board)
    for lines in seen.values():
        assert [line.status for line in lines][-2:] == ["Pull complete", "Status: done"]
        assert lines[0].status == "Pulling"
    assert 15 < len(seen["quick"]) < 30  # ten a second, not fifty
    assert len(seen["slow"]) < 8
    assert len(seen["late"]) == 3


async def test_the_first_word_is_waited_for() -> None:
    """Something said, or the end without a word."""
    board = Board()
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(board.wait_first)
            await trio.testing.wait_all_tasks_blocked()
            assert board.is_empty
            board.action("a", "Waiting")
    silent = Board()
    silent.close()
    await silent.wait_first()
    assert await drained(silent) == []


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), max_size=30))
def test_the_last_state_of_each_line_arrives(changes: list[tuple[str, int]]) -> None:
    """Whatever changed how often: a watcher that looks at the end sees the newest of each."""

    async def main() -> None:
        board = Board()
        for id, step in changes:
            board.action(id, str(step))
        board.close()
        assert {line.id: line.status for line in await drained(board)} == {
            id: str(step) for id, step in changes
        }

    trio.run(main)
