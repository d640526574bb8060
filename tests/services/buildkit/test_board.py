"""What watchers of a build see."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from protos.generated.moby.buildkit.v1 import StatusResponse
from services.buildkit import board as board_module
from services.buildkit.board import CLIPPED, StatusBoard
from services.buildkit.steps import CANCELED, Step


async def seen(board: StatusBoard) -> list[StatusResponse]:
    return [batch async for batch in board.watch()]


async def test_who_comes_late_sees_everything() -> None:
    """Each step from its begin, in order; output after its step."""
    board = StatusBoard("ref")
    step = Step(board, "1", "[1/1] RUN x")
    with step.running():
        step.log("out\n")
        step.log("err\n", is_stderr=True)
    board.close()
    (batch,) = await seen(board)
    assert [bool(one.completed) for one in batch.vertexes] == [False, True]
    assert [(one.stream, one.msg) for one in batch.logs] == [(1, b"out\n"), (2, b"err\n")]
    assert {one.vertex for one in batch.logs} == {step.digest}


async def test_steps_of_two_builds_differ() -> None:
    """Clients that show several builds tell them apart by their digests."""
    digests = {Step(StatusBoard(ref), "1", "x").digest for ref in ("a", "b")}
    assert len(digests) == 2


async def test_errors_and_cancelling_end_a_step() -> None:
    """A step that began always ends, with the reason."""
    board = StatusBoard("ref")
    with pytest.raises(ValueError, match="why"), Step(board, "1", "a").running():
        raise ValueError("why")
    with trio.CancelScope() as scope:
        scope.cancel()
        with Step(board, "2", "b").running():
            await trio.lowlevel.checkpoint()
    board.close()
    (batch,) = await seen(board)
    assert [one.error for one in batch.vertexes if one.completed] == ["why", CANCELED]


async def test_a_count_is_kept_once() -> None:
    """Of what grows, only the newest waits for a watcher."""
    board = StatusBoard("ref")
    task = Step(board, "1", "a").task("transferring")
    for count in range(1000):
        task.advance(count)
    task.end()
    board.close()
    (batch,) = await seen(board)
    assert [one.current for one in batch.statuses] == [999]


async def test_output_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past it a step's output is clipped, once."""
    monkeypatch.setattr(board_module, "MAX_LOG_BYTES", 10)
    board = StatusBoard("ref")
    step = Step(board, "1", "a")
    for _ in range(100):
        step.log("12345678")
    board.close()
    text = b"".join(one.msg for batch in await seen(board) for one in batch.logs)
    assert text == b"1234567812" + CLIPPED


async def test_batches_are_small() -> None:
    """However much is waiting, a message stays small; nothing is lost or doubled."""
    board = StatusBoard("ref")
    step = Step(board, "1", "a")
    for number in range(1000):
        step.log(f"{number}\n")
    board.close()
    batches = await seen(board)
    assert max(len(batch.logs) for batch in batches) <= board_module.BATCH_ITEMS
    said = b"".join(one.msg for batch in batches for one in batch.logs)
    assert said == b"".join(b"%d\n" % number for number in range(1000))
