"""The project's commands, as far as they can be tried without changing the machine."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SCRIPTS = sorted(
    path
    for path in [*(ROOT / "scripts").iterdir(), ROOT / ".ci" / "run"]
    if path.is_file() and path.read_bytes().startswith(b"#!/usr/bin/env bash")
)


def run(
    *command: str | Path, cwd: Path = ROOT, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; output kept, status not looked at."""
    return subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_every_script_is_careful(script: Path) -> None:
    """Executable, without syntax errors, and stops at the first failure."""
    assert os.access(script, os.X_OK)
    assert "\nset -euo pipefail\n" in script.read_text()
    assert run("bash", "-n", script).stderr == ""


@pytest.mark.parametrize(
    "name",
    [
        "find-python",
        "gen-docs",
        "install",
        "lock",
        "setup",
        "test",
        "test-image",
        "test-on",
        "uninstall",
        "vm",
    ],
)
def test_every_script_has_help(name: str, tmp_path: Path) -> None:
    """From any folder, without doing anything."""
    answer = run(ROOT / "scripts" / name, "--help", cwd=tmp_path)
    assert answer.returncode == 0
    assert answer.stdout.startswith(f"Usage: scripts/{name}")
    assert answer.stderr == ""


@pytest.mark.parametrize(
    "name",
    [
        "find-python",
        "gen-docs",
        "install",
        "lock",
        "setup",
        "test-image",
        "test-on",
        "uninstall",
        "vm",
    ],
)
def test_unknown_arguments_are_refused(name: str) -> None:
    """Before anything is done."""
    answer = run(ROOT / "scripts" / name, "--nosuch")
    assert answer.returncode == 2
    assert "unknown argument: --nosuch" in answer.stderr


def test_a_second_setup_does_nothing_and_says_nothing() -> None:
    """What is set up already is not touched."""
    stamp = ROOT / ".venv" / ".setup-dev"
    if not stamp.exists():
        pytest.skip("not set up by scripts/setup --dev")
    before = stamp.stat().st_mtime_ns
    for arguments in ([], ["--dev"]):
        answer = run(ROOT / "scripts" / "setup", *arguments)
        assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
    assert stamp.stat().st_mtime_ns == before


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_locks_hold_names_versions_and_hashes_only(name: str) -> None:
    """No address of any place that packages come from."""
    lines = (ROOT / name).read_text().splitlines()
    pattern = r"[a-z0-9-]+==[\w.+-]+( ; [^\\]+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?"
    assert [line for line in lines if not re.fullmatch(pattern, line)] == []


def test_the_dev_lock_holds_all_of_the_other() -> None:
    """Tests run with the versions that the engine runs with."""
    wanted, held = (
        {line for line in (ROOT / name).read_text().splitlines() if "==" in line}
        for name in ("requirements.lock", "requirements-dev.lock")
    )
    assert wanted <= held


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """The busybox archive."""
    if shutil.which("busybox") is None:
        pytest.skip("busybox-static is not installed")
    archive = tmp_path / "image.tar"
    answer = run(ROOT / "scripts" / "test-image", "-o", archive)
    assert (answer.returncode, answer.stdout) == (0, f"{archive}\n"), answer.stderr
    return archive


def test_the_test_image_is_a_docker_archive(image: Path, tmp_path: Path) -> None:
    """One image of one layer, whose digests are true."""
    with tarfile.open(image) as archive:
        archive.extractall(tmp_path / "image", filter="data")
    folder = tmp_path / "image"
    (entry,) = json.loads((folder / "manifest.json").read_text())
    assert entry["RepoTags"] == ["busybox:latest"]
    config = (folder / entry["Config"]).read_bytes()
    assert entry["Config"] == hashlib.sha256(config).hexdigest() + ".json"
    (layer,) = entry["Layers"]
    digest = hashlib.sha256((folder / layer).read_bytes()).hexdigest()
    assert json.loads(config)["rootfs"]["diff_ids"] == [f"sha256:{digest}"]
    assert json.loads(config)["config"]["Cmd"] == ["sh"]
    with tarfile.open(folder / layer) as contents:
        members = {member.name: member for member in contents}
    assert members["tmp"].mode == 0o1777
    assert members["bin/sh"].islnk()
    assert {"etc/passwd", "etc/group", "root", "usr/bin/env"} <= members.keys()
    assert {(member.uid, member.gid, member.mtime) for member in members.values()} == {(0, 0, 0)}


def test_the_test_image_is_the_same_wherever_it_is_made(image: Path, tmp_path: Path) -> None:
    """Another clone, with nothing made before, gives the same bytes."""
    clone = tmp_path / "clone"
    (clone / "scripts").mkdir(parents=True)
    shutil.copy2(ROOT / "scripts" / "test-image", clone / "scripts")
    answer = run(clone / "scripts" / "test-image")
    assert Path(answer.stdout.strip()).read_bytes() == image.read_bytes()
    assert len(list((clone / "build" / "test-image").iterdir())) == 1
