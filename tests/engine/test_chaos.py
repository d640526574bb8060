"""Most of a minute of `scripts/chaos`: whatever breaks under load, what was acknowledged holds."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.registry import require_registry

pytestmark = pytest.mark.engine

ROOT = Path(__file__).parents[2]
SEED = os.environ.get("CHAOS_SEED", "2")
MINUTES = os.environ.get("CHAOS_MINUTES", "0.8")


@pytest.mark.timeout(60 * (float(MINUTES) + 5))
def test_every_promise_is_kept(tmp_path: Path) -> None:
    """Nothing acknowledged is lost, exit codes, logs and events are right, nothing is left over."""
    require_registry()
    kept = tmp_path / "chaos.log"
    done = subprocess.run(
        [ROOT / "scripts/chaos", "--minutes", MINUTES, "--seed", SEED, "--keep", kept],
        env={**os.environ, "CHAOS_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    log = kept.read_text(errors="replace")[-20_000:] if kept.exists() else ""
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{log}"
    containers = re.search(r"^(\d+) containers; 0 promises not kept$", done.stdout, re.MULTILINE)
    assert containers is not None, done.stdout
    assert int(containers[1]) > 10, "hardly anything was asked of the engine"
