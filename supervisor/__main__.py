"""`python -m supervisor`: the composition root's door."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .commands import command_of
from .process.quick_dataclasses import install

if TYPE_CHECKING:
    from .configuration.option import Value
    from .configuration.settings import Settings


def _run_daemon(settings: Settings, given: Mapping[str, Value]) -> int:
    from .start import run_daemon

    return run_daemon(settings, given)


def main() -> None:
    """Act on the command line and exit with the daemon's status, or the command's."""
    gc.disable()  # see `collector`: it is on again when the engine is ready
    install()
    try:
        status = _act(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has read enough; as for a command that SIGPIPE ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 128 + signal.SIGPIPE
    sys.exit(status)


def _act(argv: Sequence[str]) -> int:
    if (said := command_of(argv)) is not None:
        from .commands.frame import run_command

        return run_command(*said, os.environ)
    from .cli import main as command_line

    return command_line(argv, run_daemon=_run_daemon)


if __name__ == "__main__":
    main()
