"""`python -m supervisor`: the composition root's door."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .commands import COMMANDS
from .quick_dataclasses import install

if TYPE_CHECKING:
    from .options import Value
    from .settings import Settings


def _run_daemon(settings: Settings, given: Mapping[str, Value]) -> int:
    from .start import run_daemon

    return run_daemon(settings, given)


def main() -> None:
    """Act on the command line and exit with the daemon's status, or the command's."""
    gc.disable()  # see `collector`: it is on again when the engine is ready
    install()
    argv = sys.argv[1:]
    if argv and argv[0] in COMMANDS:
        from .commands.frame import run_command

        sys.exit(run_command(argv[0], argv[1:], os.environ))
    from .cli import main as command_line

    sys.exit(command_line(argv, run_daemon=_run_daemon))


if __name__ == "__main__":
    main()
