"""OCI runtimes by the names that containers ask for them by."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
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

    def __init__(
        self, added: Iterable[Runtime], *, state_directory: Path, systemd_cgroup: bool
    ) -> None:
        self._added = {runtime.name: runtime for runtime in added}
        # runc's own records. Its default is shared by all engines of the machine.
        self._state_directory = str(state_directory)
        self._systemd_cgroup = systemd_cgroup

    def resolve(self, name: str) -> tuple[str, RuncOptions | None]:
        """containerd's name of a runtime, and the options of runc's shim.

        Raises:
            InvalidParameter: there is no such runtime.
        """
        if name in RUNC_NAMES:
            return RUNC_V2, self._options("")
        runtime = self._added.get(name)
        if runtime is None:
            raise InvalidParameter(f"unknown or invalid runtime name: {name}")
        if runtime.path:
            return RUNC_V2, self._options(runtime.path)
        return runtime.type, None

    def _options(self, binary: str) -> RuncOptions:
        return RuncOptions(
            binary_name=binary, root=self._state_directory, systemd_cgroup=self._systemd_cgroup
        )
