"""OCI runtimes by the names that containers ask for them by."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

from services.containerd import RuncOptions
from services.errors import InvalidParameter

RUNC_V2: Final = "io.containerd.runc.v2"
RUNC_NAMES: Final = frozenset({"", "runc", RUNC_V2})


class Runtime(Protocol):
    """A runtime that was added: a binary that runc's shim calls, or a shim of its own."""

    @property
    def name(self) -> str:
        """What containers call it."""

    @property
    def path(self) -> str:
        """The binary; "" for a shim of its own."""

    @property
    def type(self) -> str:
        """containerd's name of the shim."""


class Runtimes:
    """The runtimes that this daemon knows. Source: dockerd, --add-runtime and --default-runtime."""

    def __init__(self, added: Iterable[Runtime], *, systemd_cgroup: bool) -> None:
        self._added = {runtime.name: runtime for runtime in added}
        self._systemd_cgroup = systemd_cgroup

    def resolve(self, name: str) -> tuple[str, RuncOptions | None]:
        """containerd's name of a runtime, and the options of runc's shim.

        Raises:
            InvalidParameter: there is no such runtime.
        """
        if name in RUNC_NAMES:
            return RUNC_V2, RuncOptions(systemd_cgroup=self._systemd_cgroup)
        runtime = self._added.get(name)
        if runtime is None:
            raise InvalidParameter(f"unknown or invalid runtime name: {name}")
        if runtime.path:
            return RUNC_V2, RuncOptions(
                binary_name=runtime.path, systemd_cgroup=self._systemd_cgroup
            )
        return runtime.type, None
