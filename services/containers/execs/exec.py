"""One exec: what was asked for, and what has become of it."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import trio

from services.containers.config import Wire
from services.containers.container import Container

if TYPE_CHECKING:
    from services.containers.stdio import Stdio


class ExecConfig(Wire, frozen=True, kw_only=True):
    """Engine API, schema ExecConfig. `detach_keys` "" is the daemon's default."""

    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    console_size: tuple[int, int] | None = None  # rows, columns
    detach_keys: str = ""
    tty: bool = False
    env: list[str] | None = None
    cmd: list[str] | None = None
    privileged: bool = False
    user: str = ""
    working_dir: str = ""
    detach: bool = False


class Exec:
    """One exec. `exit_code` is None until it has ended; `pid` 0 until it runs.

    Who sets `unwanted` has it killed with all that it started, also if it is only starting. One
    that does not outlive the engine is killed when its container goes on without the engine.
    """

    def __init__(
        self, container: Container, config: ExecConfig, stdio: Stdio, *, exec_id: str = ""
    ) -> None:
        self.id = exec_id or secrets.token_hex(32)
        self.container = container
        self.config = config
        self.stdio = stdio
        self.pid = 0
        self.exit_code: int | None = None
        self.is_running = False
        self.was_started = False
        self.started = trio.Event()  # or its start has failed
        self.ended = trio.Event()
        self.unwanted = trio.Event()
        self.outlives_engine = True
        self.is_left = False
        self.turns = trio.CapacityLimiter(1)  # its run's, once it is started
