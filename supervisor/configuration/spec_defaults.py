"""What containers get when nobody says otherwise: by the settings, and by the host."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

from services.containers.config import Ulimit
from services.containers.spec import SpecDefaults
from services.system import HostFacts
from services.system.elf import needs_interpreter

from .settings import Settings


def spec_defaults(settings: Settings, facts: HostFacts) -> SpecDefaults:
    """What containers get when nobody says otherwise.

    Raises:
        OSError: the seccomp profile cannot be read.
        InvalidParameter: it is none.
    """
    wanted = settings.containers
    profile = wanted.seccomp_profile
    if profile not in ("builtin", "unconfined"):
        from services.containers.spec.seccomp import parse_profile

        profile = Path(profile).read_text()
        parse_profile(profile)
    names = {"runc", "io.containerd.runc.v2", *(runtime.name for runtime in wanted.runtimes)}
    return SpecDefaults(
        runtimes=frozenset(names),
        default_runtime=wanted.default_runtime,
        init=wanted.init,
        init_path=wanted.init_path or _init_path(),
        seccomp_profile=profile,
        no_new_privileges=wanted.no_new_privileges,
        ulimits=tuple(Ulimit(name=u.name, soft=u.soft, hard=u.hard) for u in wanted.ulimits),
        cgroup_driver=wanted.cgroup_driver or _cgroup_driver(facts),
        cgroup_parent=wanted.cgroup_parent,
        shm_size_bytes=wanted.shm_size_bytes,
        ipc_mode=wanted.ipc_mode,
        cgroupns_mode=wanted.cgroupns_mode,
        data_root=str(settings.data_root),
        cdi=bool(wanted.cdi_directories),
    )


def _cgroup_driver(facts: HostFacts) -> Literal["cgroupfs", "systemd"]:
    """dockerd's choice: systemd where it manages a unified hierarchy."""
    return "systemd" if facts.systemd and facts.cgroup.version == "2" else "cgroupfs"


def _init_path() -> str:
    """docker-init where Docker is installed, else Debian's static tini.

    A container has none of the libraries that another one would need.
    """
    found = (shutil.which(name) for name in ("docker-init", "tini-static", "tini"))
    return next((path for path in found if path and _is_static(path)), "/usr/bin/tini-static")


def _is_static(path: str) -> bool:
    try:
        return not needs_interpreter(path)
    except (OSError, ValueError):
        return False
