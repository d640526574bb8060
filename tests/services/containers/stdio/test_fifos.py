"""Pipes of processes that a killed engine was starting."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from services.containers.stdio import Stream, open_readers
from services.containers.stdio.fifos import fifo_path, make_fifo


def test_who_waits_for_a_reader_goes_on(tmp_path: Path) -> None:
    """As a shim does, with all that it has to do; pipes that are not there are passed over."""
    path = fifo_path(tmp_path, Stream.STDOUT)
    make_fifo(path)
    opened: list[int] = []
    shim = threading.Thread(target=lambda: opened.append(os.open(path, os.O_WRONLY)), daemon=True)
    shim.start()
    (reader,) = open_readers(tmp_path)
    shim.join(timeout=30)
    assert len(opened) == 1
    os.close(reader)
    os.close(opened[0])
    assert open_readers(tmp_path / "nowhere") == []
