"""scripts/soak: a short run leaves nothing, and what is left is told."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from soaklib.__main__ import leaks, table
from soaklib.measure import JUDGED, NAMES, Holdings

ROOT = Path(__file__).parent.parent.parent
NOTHING = Holdings(**dict.fromkeys(NAMES, 0))


@pytest.mark.parametrize("name", JUDGED)
def test_one_more_is_a_leak(name: str) -> None:
    """Of anything; and the table says so."""
    after = replace(NOTHING, **{name: 1})
    assert leaks(NOTHING, after, 16.0) == [name]
    assert leaks(after, NOTHING, 16.0) == []
    assert [line.split()[0] for line in table(NOTHING, after, 16.0).splitlines() if "LEAK" in line]


def test_memory_may_grow_up_to_its_bound() -> None:
    """The engine's; the database and containerd are shown only."""
    grown = replace(NOTHING, memory_mb=15.9, disk_mb=50.0, containerd_memory_mb=70.0)
    assert leaks(NOTHING, grown, 16.0) == []
    assert leaks(NOTHING, replace(grown, memory_mb=16.1), 16.0) == ["memory_mb"]


@pytest.mark.engine
@pytest.mark.timeout(400)
def test_forty_containers_leave_nothing(tmp_path: Path) -> None:
    """Each through create, start, exec, logs, stop and remove."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("containerd", "runc", "ctr"))):
        pytest.skip("needs root, containerd and runc")
    done = subprocess.run(
        [ROOT / "scripts/soak", "--containers", "40", "--warm-up", "16"],
        env=os.environ | {"BENCH_PYTHON": sys.executable},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "shims" in done.stdout
