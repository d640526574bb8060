"""supervisor.cli: dockerd's flags."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.cli import UsageError, main, parse_flags
from supervisor.configuration.option import Kind, Option, Value
from supervisor.configuration.options import OPTIONS
from supervisor.configuration.settings import Settings
from supervisor.version import VERSION, build_id

ROOT = Path(__file__).parent.parent.parent
# Beside the project, or some folders further up.
FLAGS_FILES = [folder / "shared" / "api" / "dockerd-flags.txt" for folder in ROOT.parents]
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
BAD: Mapping[Kind, str] = {
    Kind.BOOL: "maybe",
    Kind.INT: "x",
    Kind.BYTES: "3q",
    Kind.IP: "3q",
    Kind.IPS: "3q",
    Kind.LABELS: "3q",
    Kind.DOMAINS: "!",
    Kind.HOSTS: "xx://y",
    Kind.ULIMITS: "3q",
    Kind.POOLS: "3q",
    Kind.MAPMAP: "3q",
    Kind.RUNTIMES: "3q",
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


def reference_flags() -> list[tuple[str, str, str]]:
    """(short, name, kind word) of every flag in the reference list."""
    path = next((path for path in FLAGS_FILES if path.exists()), None)
    if path is None:
        pytest.skip("shared/api/dockerd-flags.txt, the list of dockerd's flags, is not here")
    pattern = re.compile(r"^(?:-(\w) )?--([\w-]+)(?: <(.+)>)?$")
    matches = [pattern.match(line) for line in path.read_text().splitlines() if line.strip()]
    assert all(matches)
    return [(match[1] or "", match[2], match[3] or "") for match in matches if match]


def test_every_flag_of_dockerds_is_known_with_its_short_form_and_kind() -> None:
    """The table has exactly the flags of the list, and some that it says are ours."""
    reference = {name: (short, word) for short, name, word in reference_flags()}
    ours = {
        option.flag: (option.short, option.kind.word)
        for option in OPTIONS.values()
        if not option.is_ours
    }
    assert ours == reference


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


@pytest.mark.parametrize("option", OPTIONS.values(), ids=lambda option: option.flag)
def test_every_flag_refuses_a_value_of_another_kind(option: Option) -> None:
    """The message names the value and the flag, short form included, as dockerd's does."""
    if option.kind not in BAD:
        return
    bad = BAD[option.kind]
    short = f"-{option.short}, " if option.short else ""
    with pytest.raises(UsageError) as caught:
        parse_flags([f"--{option.flag}={bad}"])
    expected = f'invalid argument "{bad}" for "{short}--{option.flag}" flag: '
    assert str(caught.value).startswith(expected)


@given(value=st.sampled_from(["true", "false", "1", "0", "T", "F"]))
def test_booleans_in_gos_way(value: str) -> None:
    """Alone is true; a value follows `=` and nothing else."""
    assert parse_flags(["--icc"]) == {"icc": True}
    assert parse_flags([f"--icc={value}"]) == {"icc": value in {"true", "1", "T"}}
    with pytest.raises(UsageError, match="accepts no argument"):
        parse_flags(["--icc", value])


@pytest.mark.parametrize(
    "argv",
    [
        ["-l", "warn", "-D", "-H", "fd://"],
        ["-lwarn", "-D=true", "-Hfd://"],
        ["-Dlwarn", "-H=fd://"],
        ["-Dl", "warn", "--host", "fd://"],
        ["--log-level=warn", "--debug", "--host=fd://"],
    ],
)
def test_short_flags_in_every_spelling(argv: list[str]) -> None:
    """Clusters, glued values and equals signs mean the same."""
    assert parse_flags(argv) == {"debug": True, "host": ("fd://",), "log-level": "warn"}


def test_repetition_adds_or_overrides() -> None:
    """Lists grow; of single values the last one counts."""
    flags = parse_flags(["--label=a=b", "--mtu=1", "--label", "c=d", "--mtu", "2"])
    assert flags == {"label": ("a=b", "c=d"), "mtu": 2}


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


def test_a_value_may_begin_with_a_dash() -> None:
    """As in Go: a flag that wants a value takes what comes next."""
    assert parse_flags(["--shutdown-timeout", "-1"]) == {"shutdown-timeout": -1}


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


def test_the_version_is_pyprojects() -> None:
    """One version, in two places that agree."""
    assert f'version = "{VERSION}"' in (ROOT / "pyproject.toml").read_text()


def test_the_build_is_read_from_git_however_it_is_kept(tmp_path: Path) -> None:
    """A branch in a file, a packed branch, a detached head, and no git at all."""
    git = tmp_path / ".git"
    assert build_id(tmp_path) == "unknown"
    (git / "refs").mkdir(parents=True)
    (git / "HEAD").write_text("0123456789abcdef\n")
    assert build_id(tmp_path) == "0123456"
    (git / "HEAD").write_text("ref: refs/main\n")
    (git / "packed-refs").write_text("# pack-refs\nabcdef0123 refs/main\n")
    assert build_id(tmp_path) == "abcdef0"
    (git / "refs" / "main").write_text("fedcba9876\n")
    assert build_id(tmp_path) == "fedcba9"
