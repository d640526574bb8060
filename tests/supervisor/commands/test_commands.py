"""supervisor.commands: which command a command line says."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from supervisor.commands import command_of


@pytest.mark.parametrize(
    ("argv", "word", "rest"),
    [
        (["tree"], "tree", []),
        (["restart", "root/api", "-H", "x"], "restart", ["root/api", "-H", "x"]),
        (["-H", "x", "tree", "--watch"], "tree", ["--watch", "-H", "x"]),
        (["--host", "x", "audit"], "audit", ["--host", "x"]),
        (["--host=x", "audit"], "audit", ["--host=x"]),
        (["-Hx", "audit"], "audit", ["-Hx"]),
    ],
)
def test_a_command_may_follow_the_address(
    argv: Sequence[str], word: str, rest: Sequence[str]
) -> None:
    """As with the docker command."""
    assert command_of(argv) == (word, rest)


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["-H"],
        ["-H", "tree"],  # an address of that name
        ["-H", "x", "--debug", "tree"],
        ["--hosts", "tree"],
        ["--debug"],
        ["nosuch", "tree"],
    ],
)
def test_all_else_is_for_the_engine(argv: Sequence[str]) -> None:
    """Which starts, or says what is wrong."""
    assert command_of(argv) is None
