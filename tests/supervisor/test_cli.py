"""supervisor.cli: what flags lead to."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from supervisor.cli import main
from supervisor.configuration.option import Kind, Option, Value
from supervisor.configuration.options import OPTIONS
from supervisor.configuration.settings import Settings
from supervisor.version import VERSION

ROOT = Path(__file__).parents[2]
SAMPLES: Mapping[Kind, tuple[str, ...]] = {
    Kind.BOOL: ("true", "false"),
    Kind.INT: ("7",),
    Kind.BYTES: ("32m",),
    Kind.IP: ("10.1.2.3",),
    Kind.IPS: ("10.1.2.3",),
    Kind.LABELS: ("a=b",),
    Kind.DOMAINS: ("example.com",),
    Kind.HOSTS: ("unix:///tmp/x.sock",),
    Kind.MAP: ("a=b",),
    Kind.ULIMITS: ("nofile=1:2",),
    Kind.RUNTIMES: ("crun=/usr/bin/crun",),
    Kind.POOLS: ("base=10.0.0.0/8,size=24",),
    Kind.MAPMAP: ("bridge=com.docker.network.driver.mtu=1400",),
    Kind.SCOPES: ('{"path": "/run/x.sock", "policy": {"read-only": true}}',),
}


class Daemon:
    """Records what it was run with."""

    def __init__(self) -> None:
        self.ran: list[tuple[Settings, Mapping[str, Value]]] = []

    def __call__(self, settings: Settings, given: Mapping[str, Value]) -> int:
        self.ran.append((settings, given))
        return 7


def run(*argv: str, tmp_path: Path) -> tuple[int, Daemon]:
    """`main` with a configuration file that is empty, so that the machine's plays no part."""
    config = tmp_path / "daemon.json"
    config.touch()
    daemon = Daemon()
    status = main(["--config-file", str(config), *argv], run_daemon=daemon, environment={})
    return status, daemon


@pytest.mark.parametrize("option", OPTIONS.values(), ids=lambda option: option.flag)
def test_every_flag_takes_effect_or_is_refused_in_one_sentence(
    option: Option, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A value that is not the default ends in a run, or in status 1 and one sentence."""
    if option.flag in ("help", "version", "validate", "config-file"):
        return
    for sample in SAMPLES.get(option.kind, ("/some/value",)):
        status, daemon = run(f"--{option.flag}={sample}", tmp_path=tmp_path)
        message = capsys.readouterr().err
        if daemon.ran:
            assert status == 7
            assert option.flag in daemon.ran[0][1]
        else:
            assert status == 1
            assert len(message.splitlines()) == 1
        if option.refused and str(option.default).lower() != sample:
            assert message == f"--{option.flag}: {option.refused}\n"


@pytest.mark.parametrize("option", OPTIONS.values(), ids=lambda option: option.flag)
def test_a_flag_given_its_default_is_accepted(option: Option, tmp_path: Path) -> None:
    """Unit files that spell out dockerd's defaults go on working."""
    if option.kind.is_repeatable or option.default is None or option.key == "":
        return
    default = str(option.default)
    status, daemon = run(
        f"--{option.flag}={default.lower() if option.kind is Kind.BOOL else default}",
        tmp_path=tmp_path,
    )
    assert (status, len(daemon.ran)) == (7, 1)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["foo"], '"wharfinger" accepts no argument(s).'),
        (["--", "--debug"], '"wharfinger" accepts no argument(s).'),
        (["--nosuch"], "unknown flag: --nosuch"),
        (["--deb"], "unknown flag: --deb"),
        (["foo", "--nosuch"], "unknown flag: --nosuch"),
        (["-x"], "unknown shorthand flag: 'x' in -x"),
        (["-Dx"], "unknown shorthand flag: 'x' in -Dx"),
        (["--mtu"], "flag needs an argument: --mtu"),
        (["-H"], "flag needs an argument: 'H' in -H"),
        (["--=x"], "bad flag syntax: --=x"),
        (["---x"], "bad flag syntax: ---x"),
    ],
)
def test_what_cannot_be_read(
    argv: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """dockerd's sentence, where to find help, status 1, and no engine."""
    status, daemon = run(*argv, tmp_path=tmp_path)
    assert (status, daemon.ran) == (1, [])
    assert capsys.readouterr().err == f"{message}\nSee 'wharfinger --help'.\n"


def test_version_help_and_validate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They answer, end with 0 and run nothing."""
    for argv, pattern in (
        (["--version"], rf"Wharfinger version {re.escape(VERSION)}, build \w+\n"),
        (["-v"], r"Wharfinger version .*\n"),
        (["--help"], r"(?s)Usage: wharfinger \[OPTIONS\].*--data-root string.*"),
        (["--validate"], r"configuration OK\n"),
    ):
        status, daemon = run(*argv, tmp_path=tmp_path)
        assert (status, daemon.ran) == (0, [])
        assert re.fullmatch(pattern, capsys.readouterr().out)


def test_help_shows_every_flag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No flag is hidden."""
    run("--help", tmp_path=tmp_path)
    shown = capsys.readouterr().out
    assert [flag for flag in OPTIONS if f"--{flag}" not in shown] == []


def test_validate_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A configuration that would not start does not pass."""
    status, _ = run("--validate", "--log-level=loud", tmp_path=tmp_path)
    assert status == 1
    assert capsys.readouterr() == ("", "invalid logging level: loud\n")


def test_a_reader_that_leaves_early() -> None:
    """As in `wharfinger --help | head -1`: no traceback, and the status of who ends by SIGPIPE."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "supervisor", "--help"]
    done = subprocess.run(command, cwd=ROOT, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")
