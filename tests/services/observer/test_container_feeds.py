"""services.observer.container_feeds: a log's frames become lines, a sample becomes numbers."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from services.containers.stats import BlockCounter
from services.observer.container_feeds import split_frames, usage_to_wire
from tests.services.metrics.test_containers import SAMPLE


def frame(stream: int, text: bytes) -> bytes:
    return struct.pack(">BxxxI", stream, len(text)) + text


def test_frames_become_lines() -> None:
    """With their stream, without their ends; what is not text is shown as that."""
    data = frame(1, b"T one\n") + frame(2, b"T tw\xff\r\n") + frame(1, b"")
    assert split_frames(data) == (
        [("stdout", "T one"), ("stderr", "T tw\ufffd"), ("stdout", "")],
        b"",
    )


@given(st.lists(st.binary(max_size=20), max_size=10), st.integers(min_value=0, max_value=300))
def test_frames_may_be_cut_anywhere(texts: list[bytes], at: int) -> None:
    """What is left of one cut is the beginning of the next."""
    data = b"".join(frame(1, text) for text in texts)
    first, rest = split_frames(data[:at])
    second, rest = split_frames(rest + data[at:])
    assert [*first, *second] == split_frames(data)[0]
    assert rest == b""


def test_a_sample_becomes_numbers() -> None:
    """Devices and interfaces summed, memory as docker stats shows it."""
    wire = usage_to_wire(SAMPLE)
    assert (wire["cpu_ns"], wire["memory_bytes"], wire["pids"]) == (2_000_000_000, 600, 3)
    assert (wire["rx_bytes"], wire["tx_bytes"]) == (101, 52)
    assert (wire["read_bytes"], wire["written_bytes"]) == (15, 7)
    assert isinstance(SAMPLE.io_service_bytes[0], BlockCounter)
