"""Loading the default profile: once, again when it is lost, and not silently not at all."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import trio

from services.containers.apparmor import AppArmor
from services.errors import EngineError

LOADED = "docker-default (enforce)\n"


class Kernel:
    """A host's files with the list of profiles, and a parser that adds to it."""

    def __init__(self, root: Path, profiles: str = "") -> None:
        self.root = root
        self.list = root / "sys/kernel/security/apparmor/profiles"
        self.list.parent.mkdir(parents=True)
        self.list.write_text(profiles)
        self.loaded: list[str] = []
        self.error: Exception | None = None

    def parse(self, text: str) -> None:
        """The parser."""
        if self.error is not None:
            raise self.error
        self.loaded.append(text)
        self.list.write_text(self.list.read_text() + LOADED)

    def apparmor(self) -> AppArmor:
        """The engine's side."""
        return AppArmor(is_enabled=True, root=self.root, parse=self.parse)

    def write(self, path: str, text: str) -> None:
        """Make a file of the host."""
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)


async def started(apparmor: AppArmor) -> bool:
    """Whether the child got ready before it ended."""
    async with trio.open_nursery() as nursery:
        try:
            await nursery.start(apparmor.run)
        except RuntimeError:
            return False
    return True


async def test_it_is_loaded_at_the_start(tmp_path: Path) -> None:
    """Among other profiles, also ones whose name only begins alike."""
    kernel = Kernel(tmp_path, "docker-default-2 (enforce)\nman_groff (complain)\n")
    apparmor = kernel.apparmor()
    assert await started(apparmor)
    (text,) = kernel.loaded
    assert "profile docker-default flags=" in text
    assert "#include" not in text
    assert apparmor.warnings == ()


async def test_what_is_loaded_is_left_alone(tmp_path: Path) -> None:
    """An administrator's own profile of that name, too."""
    kernel = Kernel(tmp_path, LOADED)
    assert await started(kernel.apparmor())
    assert kernel.loaded == []


async def test_without_apparmor_nothing_is_done(tmp_path: Path) -> None:
    """And the child is never ready: there is nothing to supervise."""
    apparmor = AppArmor(is_enabled=False, root=tmp_path)
    assert not await started(apparmor)
    assert apparmor.warnings == ()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(2, "No such file or directory"), "[Errno 2] No such file or directory"),
        (
            subprocess.CalledProcessError(1, "x", stderr=b"syntax error\n"),
            "apparmor_parser ended with status 1: syntax error",
        ),
        (subprocess.TimeoutExpired("x", 20), "Command 'x' timed out after 20 seconds"),
    ],
)
async def test_a_failure_is_told_and_stops_containers_only(
    tmp_path: Path, error: Exception, reason: str
) -> None:
    """The engine starts; /info warns; each container is tried anew, and the warning goes."""
    kernel = Kernel(tmp_path)
    kernel.error = error
    apparmor = kernel.apparmor()
    assert await started(apparmor)
    expected = (
        "AppArmor enabled on system but the docker-default profile could not be loaded: " + reason
    )
    assert apparmor.warnings == (f"WARNING: {expected}",)
    with pytest.raises(EngineError) as failure:
        apparmor.ensure()
    assert str(failure.value) == expected
    kernel.error = None
    apparmor.ensure()
    assert len(kernel.loaded) == 1
    assert not apparmor.warnings


def test_a_profile_that_was_unloaded_is_loaded_again(tmp_path: Path) -> None:
    """Whoever starts a container asks for it."""
    kernel = Kernel(tmp_path)
    apparmor = kernel.apparmor()
    apparmor.ensure()
    apparmor.ensure()
    assert len(kernel.loaded) == 1
    kernel.list.write_text("")
    apparmor.ensure()
    assert len(kernel.loaded) == 2


@pytest.mark.parametrize(
    ("current", "peer"),
    [
        ("unconfined\n", ""),
        ("/usr/bin/dockerd (enforce)\n", 'peer="/usr/bin/dockerd"'),
        ('a"b\n', ""),
        ("\x00", ""),
    ],
)
def test_the_engines_own_profile_may_send_signals(tmp_path: Path, current: str, peer: str) -> None:
    """If it has one; a name that would break out of the text is passed over."""
    kernel = Kernel(tmp_path)
    kernel.write("proc/self/attr/current", current)
    kernel.write("etc/apparmor.d/tunables/global", "")
    kernel.write("etc/apparmor.d/abstractions/base", "")
    kernel.apparmor().ensure()
    (text,) = kernel.loaded
    peers = ['peer="unconfined"', 'peer="runc"', 'peer="crun"', *([peer] if peer else [])]
    lines = [line.strip() for line in text.splitlines()]
    assert [line for line in lines if line.startswith("signal receive")] == [
        f"signal receive {one}," for one in peers
    ]
    assert "#include <tunables/global>" in lines
    assert "#include <abstractions/base>" in lines
