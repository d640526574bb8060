"""OCI runtimes by the names that containers ask for them by."""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote

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
    def arguments(self) -> tuple[str, ...]:
        """What the binary is given before all else."""

    @property
    def type(self) -> str:
        """containerd's name of the shim."""

    @property
    def options(self) -> Mapping[str, bool | int | str]:
        """Fields of RuncOptions, for a shim that is runc's."""


def is_shim_name(name: str) -> bool:
    """Whether containerd would look for a shim of this name: "io.containerd.kata.v2", no path.

    Source: moby, daemon/runtime_unix.go; containerd, runtime/v2/shim, BinaryName.
    """
    first, dot, _ = name.partition(".")
    return bool(first and dot) and "/" not in name


class Runtimes:
    """The runtimes that this daemon knows. Source: dockerd, --add-runtime and --default-runtime."""

    def __init__(
        self,
        added: Callable[[], Iterable[Runtime]],
        *,
        state_directory: Path,
        scripts: Path,
        systemd_cgroup: bool,
    ) -> None:
        """`added` is asked at each start: a reload changes it.

        `scripts` is where those go that add a runtime's arguments; made when needed.
        """
        self._added = added
        self._scripts = scripts
        self._written: dict[str, tuple[str, tuple[str, ...]]] = {}  # what each calls
        # runc's own records. Its default is shared by all engines of the machine.
        self._defaults = RuncOptions(root=str(state_directory), systemd_cgroup=systemd_cgroup)

    def resolve(self, name: str) -> tuple[str, RuncOptions | None]:
        """containerd's name of a runtime, and the options of runc's shim.

        Raises:
            InvalidParameter: there is no such runtime.
            OSError: its script cannot be written.
        """
        if name in RUNC_NAMES:
            return RUNC_V2, self._defaults
        runtime = next((one for one in self._added() if one.name == name), None)
        if runtime is None:
            if is_shim_name(name):
                return name, None
            raise InvalidParameter(f"unknown or invalid runtime name: {name}")
        if runtime.path:
            return RUNC_V2, dataclasses.replace(self._defaults, binary_name=self._binary(runtime))
        if runtime.type == RUNC_V2:
            options = dict(runtime.options)
            return RUNC_V2, dataclasses.replace(self._defaults, **options)  # type: ignore[arg-type]
        return runtime.type, None

    def _binary(self, runtime: Runtime) -> str:
        """The binary, or a script that gives it its arguments: the shim knows of a path only."""
        if not runtime.arguments:
            return runtime.path
        script = self._scripts / quote(runtime.name, safe="")
        called = (runtime.path, runtime.arguments)
        if self._written.get(runtime.name) != called:
            self._scripts.mkdir(mode=0o700, parents=True, exist_ok=True)
            new = script.with_suffix(".new")
            command = shlex.join([runtime.path, *runtime.arguments])
            new.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
            new.chmod(0o700)
            os.replace(new, script)
            self._written[runtime.name] = called
        return str(script)
