"""scripts/install and scripts/uninstall, below a folder: what a machine would get."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.scripts.test_scripts import ROOT, run

# An interpreter whose environments are empty, so that nothing is fetched. It compiles if COMPILES,
# which takes seconds, says so.
PYTHON = """#!/bin/sh
case "$*" in
    "-m venv "*) mkdir -p "$4/bin" && cp "$0" "$4/bin/python" ;;
    "-m pip "*) echo "$*" >>"$LOG" ;;
    *sysconfig*) here=$(dirname "$0")/..; mkdir -p "$here/site"; echo "$here/site" ;;
    "-m compileall "*) test -z "$COMPILES" || exec python3 "$@" ;;
    *) exec python3 "$@" ;;
esac
"""


class Machine:
    """A folder to install into."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.log = folder / "pip"
        self.log.touch()
        self._python = folder / "python"
        self._python.write_text(PYTHON)
        self._python.chmod(0o755)

    def run(self, script: str, *arguments: str, compiles: bool = False) -> None:
        """Run a script for this folder; fail if it does."""
        command: list[str | Path] = [ROOT / "scripts" / script, "--destdir", self.root, *arguments]
        done = run(
            *command,
            PYTHON=str(self._python),
            LOG=str(self.log),
            COMPILES="1" if compiles else "",
        )
        assert done.returncode == 0, done.stderr

    def files(self) -> set[str]:
        """All that is there besides folders."""
        found = (Path(top) / name for top, _, names in os.walk(self.root) for name in names)
        return {str(path.relative_to(self.root)) for path in found}

    def text(self, path: str) -> str:
        return (self.root / path).read_text()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_an_installation_and_its_end(machine: Machine) -> None:
    """Engine, environment, units, group, command, configuration; the data's owner keeps that."""
    machine.run("install", "--socket", "/run/x.sock", compiles=True)
    files = machine.files()
    assert {
        "etc/systemd/system/wharfinger.service",
        "etc/systemd/system/wharfinger.socket",
        "etc/wharfinger/daemon.json",
        "opt/wharfinger/bin/wharfinger",
        "opt/wharfinger/supervisor/__main__.py",
        "opt/wharfinger/.venv/site/wharfinger.pth",
        "usr/local/lib/sysusers.d/wharfinger.conf",
    } <= files
    assert any("supervisor/__pycache__/daemon." in name for name in files)  # compiled
    assert "ListenStream=/run/x.sock\n" in machine.text("etc/systemd/system/wharfinger.socket")
    link = machine.root / "usr/local/bin/wharfinger"
    assert os.readlink(link) == "/opt/wharfinger/bin/wharfinger"
    assert machine.text("opt/wharfinger/.venv/site/wharfinger.pth") == "/opt/wharfinger\n"
    machine.run("uninstall")
    assert machine.files() == {"etc/wharfinger/daemon.json"}
    machine.run("uninstall", "--purge")
    assert machine.files() == set()


def test_an_update_keeps_what_is_the_machines(machine: Machine) -> None:
    """The configuration; and the environment, while its lock file is the same."""
    machine.run("install")
    (machine.root / "etc/wharfinger/daemon.json").write_text('{"debug": true}')
    stale = machine.root / "opt/wharfinger/services/stale.py"
    stale.write_text("")
    machine.run("install")
    assert machine.text("etc/wharfinger/daemon.json") == '{"debug": true}'
    assert not stale.exists()
    assert len(machine.log.read_text().splitlines()) == 1
    assert not (machine.root / "opt/wharfinger.old").exists()
    assert not (machine.root / "opt/wharfinger.new").exists()


def test_a_folder_that_is_none_of_ours_is_left_alone(machine: Machine) -> None:
    """A mistyped prefix removes nothing."""
    mine = machine.root / "home" / "mine"
    mine.parent.mkdir(parents=True)
    mine.write_text("")
    done = run(ROOT / "scripts/uninstall", "--destdir", str(machine.root), "--prefix", "/home")
    assert done.returncode == 1
    assert "not an installed Wharfinger" in done.stderr
    assert mine.exists()


def test_the_units_are_what_systemd_understands(machine: Machine, tmp_path: Path) -> None:
    """systemd's own check, with the programs where they would be."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    machine.run("install")
    units = tmp_path / "units"
    units.mkdir()
    for name in ("wharfinger.service", "wharfinger.socket"):
        text = machine.text(f"etc/systemd/system/{name}")
        (units / name).write_text(text.replace("/opt/", f"{machine.root}/opt/"))
    verify = ["systemd-analyze", "verify", str(units / "wharfinger.service")]
    done = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("script", ["install", "uninstall"])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("--prefix",), "needs a value"), (("--prefix", "opt"), "needs an absolute path")],
)
def test_bad_arguments_change_nothing(script: str, arguments: tuple[str, ...], said: str) -> None:
    """One line, status 2."""
    done = run(ROOT / "scripts" / script, *arguments)
    assert done.returncode == 2
    assert said in done.stderr
