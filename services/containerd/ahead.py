"""containerd started ahead of all else: it comes up while Python still imports the engine.

Half of the time from containerd's start to its first answer is thus had for nothing. Imports no
trio, and nothing of gRPC.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from types import TracebackType
from typing import Self

from ._found import find_pid
from ._spawn import Started, make_folders, spawn
from .process_config import ProcessConfig

STOP_S = 10.0


class Ahead:
    """A containerd that nobody watches yet: until `take` it is ended with the block.

    None is started when one is alive already, or when it cannot be started: whoever watches finds
    that out again, and says so.
    """

    def __init__(self, config: ProcessConfig) -> None:
        self._config = config
        self._started: Started | None = None

    def __enter__(self) -> Self:
        with suppress(OSError):
            make_folders(self._config)
            found = find_pid(self._config)
            if found is None:
                self._started = spawn(self._config)
            else:
                os.close(found[1])
        return self

    def take(self) -> Started | None:
        """What was started, now the caller's; None the next time."""
        started, self._started = self._started, None
        return started

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        started = self.take()
        if started is None:
            return
        process = started.process
        started.waits.close()
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._config.pid_file.unlink(missing_ok=True)
