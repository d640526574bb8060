"""The command line: what needs no engine is answered here (`--help`, `--version`, `--validate`).

The engine itself is a callable that `main` is given, so that importing this stays cheap.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Protocol

from .configuration.flags import PROGRAM, UsageError, parse_flags
from .configuration.loading import load
from .configuration.option import Value
from .configuration.settings import ConfigError, Settings
from .version import VERSION, build_id


class RunDaemon(Protocol):
    """Runs the engine until it has ended; the answer is the process's exit status.

    `given` are the values of the flags, by flag name, which a reload merges with the file again.
    """

    def __call__(self, settings: Settings, given: Mapping[str, Value]) -> int:
        """Blocks until then."""
        ...


def main(
    argv: Sequence[str],
    *,
    run_daemon: RunDaemon,
    environment: Mapping[str, str] | None = None,
) -> int:
    """Act on the arguments (without the program's name) and return the exit status.

    Whatever is wrong with flags or file is one message on standard error and status 1.
    """
    try:
        given = parse_flags(argv)
    except UsageError as error:
        print(f"{error}\nSee '{PROGRAM} --help'.", file=sys.stderr)
        return 1
    if given.get("help"):
        from .configuration.flag_help import help_text  # click takes a thirtieth of a start

        print(help_text(PROGRAM))
        return 0
    if given.get("version"):
        print(f"Wharfinger version {VERSION}, build {build_id()}")
        return 0
    try:
        settings = load(given, os.environ if environment is None else environment)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    if given.get("validate"):
        print("configuration OK")
        return 0
    return run_daemon(settings, given)
