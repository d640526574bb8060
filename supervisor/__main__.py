"""`python -m supervisor`: the composition root's door."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from .cli import main as command_line
from .options import Value
from .settings import Settings


def _run_daemon(settings: Settings, given: Mapping[str, Value]) -> int:
    # Imported here: `--help`, `--version` and a wrong flag are answered without it.
    from .daemon import run_daemon

    return run_daemon(settings, given)


def main() -> None:
    """Act on the command line and exit with the daemon's status."""
    sys.exit(command_line(sys.argv[1:], run_daemon=_run_daemon))


if __name__ == "__main__":
    main()
