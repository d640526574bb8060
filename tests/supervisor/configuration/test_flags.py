"""supervisor.configuration.flags: dockerd's flags."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.configuration.flags import UsageError, parse_flags
from supervisor.configuration.option import Kind, Option
from supervisor.configuration.options import OPTIONS

# Beside the project, or some folders further up.
FLAGS_FILES = [
    folder / "shared" / "api" / "dockerd-flags.txt" for folder in Path(__file__).parents[3].parents
]
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


def test_a_value_may_begin_with_a_dash() -> None:
    """As in Go: a flag that wants a value takes what comes next."""
    assert parse_flags(["--shutdown-timeout", "-1"]) == {"shutdown-timeout": -1}
