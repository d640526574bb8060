"""Getting the default profile into the kernel, at the start and whenever it is missing.

Whoever starts a container asks for it again: an administrator may have unloaded all profiles
meanwhile, and a container without the profile that it should have is not started.

Source: moby, profiles/apparmor and daemon/apparmor_default.go.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import trio
from loguru import logger

from services.containers.apparmor.profile import DEFAULT_PROFILE, UNCONFINED, profile_text
from services.errors import EngineError

log = logger.bind(service="containers")

PARSER: Final = "apparmor_parser"
PARSER_LIMIT_S: Final = 20.0
PROFILES: Final = Path("sys/kernel/security/apparmor/profiles")
OWN_PROFILE: Final = Path("proc/self/attr/current")
POLICIES: Final = Path("etc/apparmor.d")

ParserRun = Callable[[str], None]
"""Blocks. Loads the text of a profile. Raises OSError or subprocess.SubprocessError."""


class AppArmor:
    """The host's AppArmor, as far as containers' default profile needs it."""

    def __init__(
        self, *, is_enabled: bool, root: Path = Path("/"), parse: ParserRun | None = None
    ) -> None:
        """`is_enabled`: the kernel has it and its parser is here (HostFacts.apparmor)."""
        self._is_enabled = is_enabled
        self._root = root
        self._parse = parse or _run_parser
        self._problem = ""
        self._threads = trio.CapacityLimiter(1)

    @property
    def warnings(self) -> tuple[str, ...]:
        """For /info: why containers cannot be started, if the profile could not be loaded."""
        return (f"WARNING: {self._problem}",) if self._problem else ()

    async def run(self, *, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED) -> None:
        """Load the profile if it is missing, then end. A failure is logged, and no more than that.

        Never ready where there is nothing to do.
        """
        if not self._is_enabled:
            return
        try:
            await trio.to_thread.run_sync(self.ensure, limiter=self._threads)
        except EngineError as error:
            log.error("default AppArmor profile not loaded", error=str(error))
        task_status.started()

    def ensure(self) -> None:
        """Load the profile unless the kernel has it. Blocks, for 20 s at most.

        Raises:
            EngineError: it could not be loaded; the text is dockerd's.
        """
        try:
            if not self._is_loaded():
                self._parse(self._text())
        except (OSError, subprocess.SubprocessError) as error:
            self._problem = (
                f"AppArmor enabled on system but the {DEFAULT_PROFILE} profile could not be "
                f"loaded: {_reason(error)}"
            )
            raise EngineError(self._problem) from error
        self._problem = ""

    def _is_loaded(self) -> bool:
        """The kernel's list has a line for each profile, with its mode: "name (enforce)"."""
        with (self._root / PROFILES).open(errors="replace") as profiles:
            return any(line.startswith(f"{DEFAULT_PROFILE} (") for line in profiles)

    def _text(self) -> str:
        policies = self._root / POLICIES
        return profile_text(
            DEFAULT_PROFILE,
            engine_profile=self._engine_profile(),
            has_tunables=(policies / "tunables/global").exists(),
            has_base=(policies / "abstractions/base").exists(),
        )

    def _engine_profile(self) -> str:
        """The profile of this process, without its mode. A name that needs care is passed over."""
        try:
            name = (self._root / OWN_PROFILE).read_text().partition(" (")[0].strip("\0\n ")
        except OSError:
            return UNCONFINED
        is_plain = name.isprintable() and not set(name) & set('"\\{}[]*?^@')
        return name if name and is_plain else UNCONFINED


def _run_parser(text: str) -> None:
    """`-r` replaces, `-K` leaves the parser's cache alone: the text is not of its directory."""
    parser = shutil.which(PARSER) or shutil.which(PARSER, path="/usr/sbin:/sbin") or PARSER
    subprocess.run(
        [parser, "-Kr"],
        input=text.encode(),
        capture_output=True,
        timeout=PARSER_LIMIT_S,
        check=True,
    )


def _reason(error: OSError | subprocess.SubprocessError) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        said = bytes(error.stderr or b"").decode(errors="replace").strip()
        return f"{PARSER} ended with status {error.returncode}: {said}"
    return str(error)
