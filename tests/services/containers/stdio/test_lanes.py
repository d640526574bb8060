"""Quiet processes do not wait behind talkative ones for a thread."""

from __future__ import annotations

import os

from services.containers.stdio import Lanes


def test_a_full_fifo_and_a_quiet_one_use_different_limits() -> None:
    """What the FIFO holds decides, each time anew."""
    lanes = Lanes()
    reader, writer = os.pipe()
    try:
        assert lanes.for_fifo(reader) is lanes.quiet
        os.write(writer, b"a line\n")
        assert lanes.for_fifo(reader) is lanes.quiet
        os.write(writer, bytes(60_000))
        assert lanes.for_fifo(reader) is not lanes.quiet
        os.read(reader, 100_000)
        assert lanes.for_fifo(reader) is lanes.quiet
    finally:
        os.close(reader)
        os.close(writer)
