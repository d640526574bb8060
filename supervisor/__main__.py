"""`python -m supervisor`: the composition root's door."""

from __future__ import annotations

import gc
import sys
from collections.abc import Mapping

from .cli import main as command_line
from .options import Value
from .settings import Settings


def _run_daemon(settings: Settings, given: Mapping[str, Value]) -> int:
    # Imported here: `--help`, `--version` and a wrong flag are answered without it. What is
    # imported stays; a collector that looks through it again and again is a tenth of our start.
    gc.disable()
    from .daemon import run_daemon

    gc.freeze()
    gc.enable()
    return run_daemon(settings, given)


def main() -> None:
    """Act on the command line and exit with the daemon's status."""
    sys.exit(command_line(sys.argv[1:], run_daemon=_run_daemon))


if __name__ == "__main__":
    main()
