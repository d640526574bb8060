"""Which programs can be put into a container that has none of the host's libraries."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from services.system.elf import needs_interpreter


def test_static_and_dynamic_programs_are_told_apart() -> None:
    """Debian's static busybox, and what any Debian has."""
    static, dynamic = shutil.which("busybox"), shutil.which("ls")
    assert static is not None
    assert dynamic is not None
    assert not needs_interpreter(static)
    assert needs_interpreter(dynamic)


@pytest.mark.parametrize(
    "content", [b"", b"#!/bin/sh\n", b"\x7fELF", b"\x7fELF\x02\x01" + b"\xff" * 58]
)
def test_what_is_no_program_is_refused(tmp_path: Path, content: bytes) -> None:
    """Also what only begins like one."""
    file = tmp_path / "file"
    file.write_bytes(content)
    with pytest.raises(ValueError, match="file"):
        needs_interpreter(file)
