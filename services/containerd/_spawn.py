"""Starts a containerd of our own as a process. Blocks, and imports no trio."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass

from .process_config import ProcessConfig
from .shim_waits import ShimWaits


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A containerd that is coming up, and the shims that were asked before it finds them."""

    process: subprocess.Popen[bytes]
    waits: ShimWaits


def make_folders(config: ProcessConfig) -> None:
    """What containerd needs before it starts: its folders, its configuration, its log."""
    config.folder.mkdir(parents=True, exist_ok=True, mode=0o711)
    config.root.mkdir(parents=True, exist_ok=True, mode=0o711)
    # Not written in place: a containerd that starts by itself reads it at any moment.
    temporary = config.config_file.with_name(f".{config.config_file.name}.tmp")
    temporary.write_text(config.toml())
    temporary.replace(config.config_file)
    config.log_file.touch(mode=0o600)


def spawn(config: ProcessConfig) -> Started:
    """Start it, in a session of its own, and note its pid; it does not answer yet.

    Raises:
        OSError: there is no such program, or it cannot be started.
    """
    # One that is left by a dead containerd would refuse every connection.
    config.address.unlink(missing_ok=True)
    waits = ShimWaits(config.state)
    try:
        process = _spawn(config)
        config.pid_file.write_text(f"{process.pid}\n")
    except BaseException:
        waits.close()
        raise
    return Started(process=process, waits=waits)


def _spawn(config: ProcessConfig) -> subprocess.Popen[bytes]:
    log_fd = os.open(config.log_file, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        return subprocess.Popen(
            [config.binary, "--config", str(config.config_file)],
            stdin=subprocess.DEVNULL,
            stdout=log_fd,
            stderr=log_fd,
            cwd="/",
            env=_environment(),
            start_new_session=True,
        )
    finally:
        os.close(log_fd)


def _environment() -> dict[str, str]:
    """Ours, without what systemd means for us alone: containerd would say that we are ready."""
    ours_alone = ("NOTIFY_SOCKET", "LISTEN_", "WATCHDOG_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours_alone)}
