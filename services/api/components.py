"""Which versions of containerd, runc and tini this engine stands on, asked of themselves."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import trio
from loguru import logger

from services.errors import EngineError

PROGRAM_LIMIT_S: Final = 2.0
CONTAINERD_LIMIT_S: Final = 2.0

_VERSION: Final = re.compile(r"version (\S+)", re.ASCII)
_COMMIT: Final = re.compile(r"^commit: ?(\S*)|- git\.(\S+)", re.ASCII | re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One part of the engine. "" where a part does not say."""

    name: str  # "containerd", "runc", "docker-init": clients know them by these
    version: str
    commit: str


class ContainerdVersion(Protocol):
    """containerd's answer about itself."""

    async def get(self) -> tuple[str, str]:
        """Version and revision."""
        ...


class Components:
    """Looks the parts up. What a program said is kept for as long as its file stays the same."""

    def __init__(
        self, *, containerd: ContainerdVersion, runc: str, init: Callable[[], str]
    ) -> None:
        """`runc` and `init` are paths, or names to be found on PATH; a reload changes `init`."""
        self._containerd = containerd
        self._runc, self._init = runc, init
        self._said: dict[tuple[str, int], Component] = {}
        self._asking = trio.CapacityLimiter(1)

    async def look_up(self) -> Sequence[Component]:
        """Those of the parts that answer, containerd first."""
        found = [await self._ask_containerd()]
        for name, program in (("runc", self._runc), ("docker-init", self._init())):
            found.append(
                await trio.to_thread.run_sync(self._ask, name, program, limiter=self._asking)
            )
        return [component for component in found if component is not None]

    async def _ask_containerd(self) -> Component | None:
        with trio.move_on_after(CONTAINERD_LIMIT_S):
            try:
                version, commit = await self._containerd.get()
            except EngineError:
                return None
            return Component(name="containerd", version=version, commit=commit)
        return None

    def _ask(self, name: str, program: str) -> Component | None:
        """Blocks; in a thread."""
        found = shutil.which(program)
        if found is None:
            return None
        key = (found, Path(found).stat().st_mtime_ns)
        if key not in self._said:
            try:
                self._said[key] = parse_version(name, _output_of(found))
            except (OSError, subprocess.SubprocessError) as error:
                logger.bind(service="api").warning(
                    "program did not tell its version", program=found, error=str(error)
                )
                return None
        return self._said[key]


def parse_version(name: str, text: str) -> Component:
    """What a program says of itself, e.g. "tini version 0.19.0 - git.de40ad0"."""
    version, commit = _VERSION.search(text), _COMMIT.search(text)
    return Component(
        name=name,
        version=version[1] if version else "",
        commit=(commit[1] or commit[2] or "") if commit else "",
    )


def _output_of(program: str) -> str:
    result = subprocess.run(
        [program, "--version"], capture_output=True, timeout=PROGRAM_LIMIT_S, check=True
    )
    return result.stdout.decode("utf-8", "replace")
