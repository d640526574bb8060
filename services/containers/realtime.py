"""The share of real-time scheduling that containers' cgroups have between them.

With CONFIG_RT_GROUP_SCHED a cgroup can give its children no more than it has, and one that is made
anew has nothing: so `docker run --cpu-rt-runtime` needs what `--cpu-rt-period` and
`--cpu-rt-runtime` of the daemon give to the parent.

Source: dockerd's documentation, "Configure the real-time scheduler"; moby, daemon/daemon_unix.go
(initCPURtController): all cgroups from the top to the containers' parent, at each start.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from services.errors import EngineError
from services.system import CgroupFacts

_CPU: Final = "cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Realtime:
    """A share in microseconds; 0 leaves what is there."""

    period_us: int = 0
    runtime_us: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RealtimeShare:
    """Gives what is wanted at the moment of a start."""

    cgroup: CgroupFacts
    wanted: Callable[[], Realtime] = Realtime

    def grant(self, parent: str) -> None:
        """Let the cgroup `parent` and all above it have the share. Blocks.

        Does nothing where nobody has asked for it. A slice of systemd's belongs to systemd.

        Raises:
            EngineError: the kernel has no such thing, or refuses; the text begins as dockerd's.
        """
        wanted = self.wanted()
        if not (wanted.period_us or wanted.runtime_us) or parent.endswith(".slice"):
            return
        mount = self.cgroup.mountpoints.get(_CPU)
        if mount is None or not self.cgroup.cpu_realtime:
            raise EngineError(
                "unable to init CPU RT controller: the kernel has no real-time scheduling of "
                "cgroups; start the daemon without --cpu-rt-period and --cpu-rt-runtime"
            )
        folder = Path(mount)
        try:
            # Through ".." a path could lead out of the tree; joined from the root it cannot.
            for name in PurePosixPath("/", parent).parts[1:]:
                if name == "..":
                    raise EngineError(f"unable to init CPU RT controller: {parent} is no cgroup")
                folder /= name
                folder.mkdir(mode=0o755, exist_ok=True)
                _write(folder, wanted)
        except OSError as error:
            raise EngineError(
                f"unable to init CPU RT controller: {folder}: {error.strerror}"
            ) from error


def _write(folder: Path, wanted: Realtime) -> None:
    if wanted.period_us:
        (folder / "cpu.rt_period_us").write_text(str(wanted.period_us))
    if wanted.runtime_us:
        (folder / "cpu.rt_runtime_us").write_text(str(wanted.runtime_us))
