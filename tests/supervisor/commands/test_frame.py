"""supervisor.commands.frame: arguments, statuses, and what becomes of errors."""

from __future__ import annotations

import click
import pytest

from supervisor.commands.client import Client, Refused
from supervisor.commands.frame import carry_out

AGAIN = click.Option(["--again"], is_flag=True, help="Once more")


def act(client: Client, *, again: bool) -> int:
    assert isinstance(client, Client)
    if again:
        raise Refused(409, "not now")
    return 7


def run(*argv: str) -> int:
    return carry_out("try", argv, {}, act=act, help="Try.", options=[AGAIN])


def test_the_status_is_the_actions() -> None:
    """With `--host` taken by the frame."""
    assert run("-H", "unix:///x") == 7


@pytest.mark.parametrize(
    ("argv", "status", "said"),
    [
        (("--again",), 1, "not now\n"),
        (("-H", "ftp://x"), 1, "unable to parse docker host"),
        (("--what",), 2, "No such option"),
        (("word",), 2, "unexpected extra argument"),
    ],
)
def test_what_goes_wrong_is_one_message(
    argv: tuple[str, ...], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """On standard error; 2 for what was typed, 1 for what the engine has said."""
    assert run(*argv) == status
    assert said in capsys.readouterr().err


def test_help_names_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    """And the command as it is called."""
    assert run("--help") == 0
    out = capsys.readouterr().out
    assert "wharfinger try" in out
    assert "--again" in out
    assert "--host" in out
