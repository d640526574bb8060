"""Letting frozen processes go without their shim, which may be stuck because they are frozen."""

from __future__ import annotations

from contextlib import suppress

from services.containers.cgroup_files import CgroupFiles
from services.containers.container import Container


class Thaw:
    """Speaks to the kernel. What does not freeze, or is not there, is none of its business."""

    def __init__(self, cgroups: CgroupFiles) -> None:
        self._cgroups = cgroups

    def __call__(self, container: Container) -> None:
        """Thaw a container's cgroup: one write, which does not wait for the processes.

        Source: the kernel's documentation, cgroup-v1/freezer-subsystem and cgroup-v2.
        """
        folder = self._cgroups.folder(container, "freezer")
        unified = self._cgroups.is_unified
        file, text = ("cgroup.freeze", "0") if unified else ("freezer.state", "THAWED")
        with suppress(OSError):
            (folder / file).write_text(text)
