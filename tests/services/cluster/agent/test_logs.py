"""`logs`: from a log reader's frames to messages."""

from __future__ import annotations

from services.cluster.agent.logs import parse_block
from services.containers.stdio.streams import Stream, frame_header
from tests.services.cluster.agent.support import task

STAMP = b"2026-11-29T12:00:00.000000005Z"


def frame(stream: Stream, text: bytes) -> bytes:
    return frame_header(stream, len(text)) + text


def test_frames_become_messages() -> None:
    """Time, stream, details and the bytes as they were written, spaces and all."""
    block = frame(Stream.STDOUT, STAMP + b" a=b,c=d+e one  two\n")
    block += frame(Stream.STDERR, STAMP + b"  \xff")
    first, second = parse_block(block, task())
    assert (first.stream, first.data, first.details) == (
        "stdout",
        b"one  two\n",
        {"a": "b", "c": "d e"},
    )
    assert (first.task_id, first.node_id, first.service_id) == ("t1", "n1", "s1")
    assert first.timestamp_ns == 1_795_953_600_000_000_005
    assert (second.stream, second.data, second.details) == ("stderr", b"\xff", {})


def test_what_is_none_is_left_out() -> None:
    """The lines around it are not."""
    broken = [b"no time at all", b"", STAMP, b"\xff\xff a b"]
    block = b"".join(frame(Stream.STDOUT, text) for text in broken)
    block += frame(Stream.STDOUT, STAMP + b"  good\n") + b"\x01\x00\x00"
    assert [message.data for message in parse_block(block, task())] == [b"good\n"]
