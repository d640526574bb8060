"""The first steps of a start, before the engine itself is imported: they are cheap, it is not.

What takes time outside of our process begins here, so that it goes on beside the imports:
containerd, and the firewall's helper.
"""

from __future__ import annotations

import faulthandler
import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from .configuration.option import Value
from .configuration.settings import ConfigError, Settings
from .process.ahead import StartedAhead, started_ahead
from .process.pidfile import PidFile, PidFileError


def run_daemon(settings: Settings, given: Mapping[str, Value]) -> int:
    """Run the engine until it has ended; its exit status. Wrong settings are one line and 1."""
    faulthandler.enable()  # a watchdog's SIGABRT, or a crash in C, shows where each thread is
    os.umask(0o022)  # dockerd's; containerd's snapshots inherit it
    try:
        with ExitStack() as held:
            _make_roots(settings)
            if settings.pidfile is not None:
                held.enter_context(PidFile(settings.pidfile))
            ahead = held.enter_context(started_ahead(settings))
            return _run_engine(settings, given, ahead)
    except (PidFileError, ConfigError, OSError) as error:
        print(f"failed to start daemon: {error}", file=sys.stderr)
        return 1


def _run_engine(settings: Settings, given: Mapping[str, Value], ahead: StartedAhead) -> int:
    from .daemon import run

    return run(settings, given, ahead)


def _make_roots(settings: Settings) -> None:
    """dockerd's modes: containers' users may pass through the data-root, not list it."""
    for path, mode in ((settings.data_root, 0o711), (settings.exec_root, 0o711)):
        path.mkdir(mode=mode, parents=True, exist_ok=True)
        Path(path).chmod(mode)
    (settings.data_root / "containers").mkdir(mode=0o710, exist_ok=True)
