"""scripts/bench: its file has the promised shape. What it measures is nobody's test."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def bench(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "scripts/bench", *arguments],
        env=os.environ | {"BENCH_PYTHON": sys.executable} | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_help_measures_nothing() -> None:
    """The options and what they do, at once."""
    answer = bench("--help")
    assert answer.returncode == 0
    assert "--quick" in answer.stdout
    assert not answer.stderr


@pytest.mark.engine
def test_a_quick_line_leaves_figures_and_nothing_else(tmp_path: Path) -> None:
    """Medians, values and ratios by contender, in a table and in the file; no folder stays."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("containerd", "runc", "ctr", "docker"))):
        pytest.skip("needs root, containerd and the docker CLI")
    arguments = ("--quick", "--runs", "2", "--only", "ping", "--output", str(tmp_path / "b.json"))
    with tempfile.TemporaryDirectory(prefix="w", dir="/tmp") as folder:
        answer = bench(*arguments, TMPDIR=folder)
        assert answer.returncode == 0, answer.stderr
        assert not list(Path(folder).glob("wb*"))
    assert "GET /_ping" in answer.stdout

    found = json.loads((tmp_path / "b.json").read_text())
    assert found["quick"] is True
    assert found["otp"] is None
    assert set(found["machine"]) == {"cpus", "kernel", "python"}
    (line,) = found["lines"]
    assert (line["name"], line["unit"], line["more_is_better"]) == ("ping", "/s", True)
    ours = line["figures"]["wharfinger"]
    assert len(ours["values"]) == 2
    assert min(ours["values"]) <= ours["median"] <= max(ours["values"])
    if "dockerd" in line["figures"]:
        theirs = line["figures"]["dockerd"]["median"]
        assert line["ratios"]["dockerd"] == pytest.approx(theirs / ours["median"])
    else:
        assert "dockerd" in found["skipped"]
