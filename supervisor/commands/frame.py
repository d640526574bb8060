"""What all commands share: the way to the engine, and what becomes of errors."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module

import click

from .client import Address, Client, ClientError

HOST = click.Option(
    ["-H", "--host"],
    metavar="HOST",
    default="",
    help="Where the engine listens (default: $DOCKER_HOST, else unix:///var/run/docker.sock)",
)


def run_command(word: str, argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """Import the command's module and run it; `word` is one of `COMMANDS`."""
    status: int = import_module(f"supervisor.commands.{word}").main(argv, environment)
    return status


def carry_out(
    word: str,
    argv: Sequence[str],
    environment: Mapping[str, str],
    *,
    act: Callable[..., int],
    help: str,
    options: Sequence[click.Parameter] = (),
) -> int:
    """Read `options` (and `--host`) from `argv` and call `act(client, **options)`; its status.

    Wrong arguments are one message and status 2; an engine that cannot be asked, or refuses, is one
    message and status 1.
    """
    command = click.Command(
        f"wharfinger {word}",
        params=[HOST, *options],
        help=help,
        callback=lambda host, **values: act(
            Client(Address.from_environment(environment, host)), **values
        ),
    )
    try:
        status: int = command.main(list(argv), prog_name=command.name, standalone_mode=False)
    except click.UsageError as error:
        error.show()
        return error.exit_code
    except ClientError as error:
        print(error, file=sys.stderr)
        return 1
    except (KeyboardInterrupt, click.Abort):
        return 130
    return status
