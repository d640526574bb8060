"""Where our own containerd lives, and the configuration file that says so to it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.errors import InvalidParameter

# sun_path has 108 bytes with the closing zero, and containerd listens at "<address>.ttrpc" as well.
SOCKET_PATH_MAX_BYTES: Final = 107 - len(".ttrpc")
MESSAGE_MAX_BYTES: Final = 16 * 1024 * 1024

# The CRI is Kubernetes' way in, which takes memory and a port; under its names in 1.x and 2.x.
# devmapper cannot be used without a configuration, and warns of that at each start.
DISABLED_PLUGINS: Final = (
    "io.containerd.grpc.v1.cri",
    "io.containerd.cri.v1.images",
    "io.containerd.cri.v1.runtime",
    "io.containerd.snapshotter.v1.devmapper",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessConfig:
    """What differs between one containerd of ours and another."""

    data_root: Path  # the engine's; ours is containerd/daemon in it
    exec_root: Path  # the engine's, gone with a reboot; ours is containerd/ in it
    log_level: str = "info"  # containerd's: trace, debug, info, warn, error, fatal, panic
    oom_score_adj: int = -999  # as systemd's unit has it; kept as it is where that is not allowed
    binary: str = "containerd"
    start_limit_s: float = 30.0  # from exec to the first answer
    stop_grace_s: float = 10.0  # from SIGTERM to SIGKILL

    def __post_init__(self) -> None:
        if len(str(self.address).encode()) > SOCKET_PATH_MAX_BYTES:
            raise InvalidParameter(
                f"exec root {self.exec_root} is too long: the path of containerd's socket in it,"
                f" {self.address}, may have {SOCKET_PATH_MAX_BYTES} bytes"
            )

    @property
    def folder(self) -> Path:
        """Config, pidfile, log and sockets."""
        return self.exec_root / "containerd"

    @property
    def address(self) -> Path:
        """The unix socket of containerd's gRPC services."""
        return self.folder / "containerd.sock"

    @property
    def config_file(self) -> Path:
        """Also what a process is recognised by: no other containerd is started with this file."""
        return self.folder / "containerd.toml"

    @property
    def pid_file(self) -> Path:
        """Decimal pid, newline."""
        return self.folder / "containerd.pid"

    @property
    def log_file(self) -> Path:
        """What containerd writes to stdout and stderr."""
        return self.folder / "containerd.log"

    @property
    def root(self) -> Path:
        """containerd's durable data: content, snapshots, metadata."""
        return self.data_root / "containerd" / "daemon"

    @property
    def state(self) -> Path:
        """containerd's bundles and the state of shims."""
        return self.folder / "daemon"

    def toml(self) -> str:
        """containerd's configuration, in the format (2) that 1.6, 1.7 and 2.x read."""
        return f"""\
version = 2
root = {_toml(self.root)}
state = {_toml(self.state)}
disabled_plugins = {json.dumps(DISABLED_PLUGINS)}

[grpc]
  address = {_toml(self.address)}
  max_recv_message_size = {MESSAGE_MAX_BYTES}
  max_send_message_size = {MESSAGE_MAX_BYTES}

# By default in /opt, which is not ours.
[plugins."io.containerd.internal.v1.opt"]
  path = {_toml(self.root / "opt")}

[debug]
  level = {_toml(self.log_level)}
  format = "json"
"""


def _toml(value: Path | str) -> str:
    """A TOML basic string; JSON's escapes are among TOML's."""
    return json.dumps(str(value), ensure_ascii=False)
