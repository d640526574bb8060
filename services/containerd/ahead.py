"""containerd started ahead of all else: it comes up while Python still imports the engine.

Half of the time from containerd's start to its first answer is thus had for nothing. Imports no
trio, and nothing of gRPC.
"""

from __future__ import annotations

import os

from services.ahead import ProcessAhead, wait_or_kill

from ._found import find_pid
from ._spawn import Started, make_folders, spawn
from .process_config import ProcessConfig

STOP_S = 10.0


class Ahead(ProcessAhead[Started]):
    """A containerd that nobody watches yet. None is started when one is alive already."""

    def __init__(self, config: ProcessConfig) -> None:
        super().__init__()
        self._config = config

    def _start(self) -> Started | None:
        make_folders(self._config)
        found = find_pid(self._config)
        if found is None:
            return spawn(self._config)
        os.close(found[1])
        return None

    def _end(self, started: Started) -> None:
        started.waits.close()
        started.process.terminate()
        wait_or_kill(started.process, STOP_S)
        self._config.pid_file.unlink(missing_ok=True)
