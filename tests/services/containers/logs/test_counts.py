"""services.containers.logs.counts: what one log has is in its own count and in that of all."""

from __future__ import annotations

from services.containers.logs import LogCounts


def test_one_and_all() -> None:
    """The total keeps what a log that is forgotten has counted."""
    total = LogCounts()
    one, other = LogCounts(total), LogCounts(total)
    one.write(lines=2, size_bytes=20)
    one.drop(lines=1, size_bytes=5)
    other.write(lines=3, size_bytes=30)
    del other
    assert (one.written_lines, one.written_bytes) == (2, 20)
    assert (one.dropped_lines, one.dropped_bytes) == (1, 5)
    assert (total.written_lines, total.written_bytes) == (5, 50)
    assert (total.dropped_lines, total.dropped_bytes) == (1, 5)
