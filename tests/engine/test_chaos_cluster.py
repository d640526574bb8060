"""Most of a minute of `scripts/chaos --cluster`: a leader is killed, and cut off, under load."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.daemon import require_docker, require_engine

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(
        shutil.which("etcd") is None or shutil.which("etcdctl") is None, reason="etcd is missing"
    ),
]

ROOT = Path(__file__).parents[2]
SEED = os.environ.get("CHAOS_SEED", "2")
LEAST_WRITES = 100


@pytest.mark.timeout(600)
def test_nothing_acknowledged_is_lost_and_writes_resume(tmp_path: Path) -> None:
    """Three managers: the leader's daemon, its etcd and both are killed, its link is cut; the
    recorded history is right, and nobody waits for longer than 3 s beyond what the machine takes
    for a write anyway."""
    require_engine()
    require_docker()
    done = subprocess.run(
        [
            ROOT / "scripts/chaos", "--cluster", "--each", "--managers", "3", "--workers", "0",
            "--seed", SEED, "--keep", tmp_path / "history",
        ],
        env={**os.environ, "CHAOS_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    counts = re.search(r"^(\d+) writes, (\d+) faults, 0 too late$", done.stdout, re.MULTILINE)
    assert counts is not None, done.stdout
    assert int(counts[1]) > LEAST_WRITES, "hardly anything was asked of the managers"
    assert int(counts[2]) == 4, done.stdout
