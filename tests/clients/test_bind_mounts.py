"""What of the host's mounts is seen inside, and the other way round; read-only, and how far."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.clients.cli import NONE, refusal
from tests.support.daemon import Daemon, wait_until

pytestmark = pytest.mark.clients


@pytest.fixture
def tree() -> Iterator[Path]:
    """A mount of the host's that passes its mounts on, with another one below it."""
    folder = Path(tempfile.mkdtemp(prefix="wm", dir="/tmp"))
    mount("-t", "tmpfs", "tmpfs", str(folder))
    mount("--make-shared", str(folder))
    (folder / "below").mkdir()
    mount("-t", "tmpfs", "tmpfs", str(folder / "below"))
    (folder / "below" / "file").touch()
    yield folder
    subprocess.run(["umount", "-R", str(folder)], check=False, capture_output=True)
    folder.rmdir()


def mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def bound(source: Path, *options: str) -> tuple[str, str]:
    """The option that binds `source` at /s."""
    return "--mount", ",".join((f"type=bind,src={source},dst=/s", *options))


def shown(daemon: Daemon, *options: str, script: str) -> str:
    """What a script prints and says."""
    words = (*NONE, *options, "busybox", "sh", "-c", f"{{ {script}; }} 2>&1")
    return daemon.docker("run", "--rm", *words).text


def test_mounts_are_passed_on_as_was_asked_for(daemon: Daemon, tree: Path) -> None:
    """To a slave, not from it; both ways where it is shared; not at all where it is private."""
    containers = {
        "private": bound(tree),
        "slave": bound(tree, "bind-propagation=rslave"),
        "shared": (*bound(tree, "bind-propagation=rshared"), "--privileged"),
    }
    for name, options in containers.items():
        daemon.docker("run", "-d", "--name", name, *NONE, *options, "busybox", "sleep", "1000")
    (tree / "late").mkdir()
    mount("-t", "tmpfs", "tmpfs", str(tree / "late"))
    (tree / "late" / "file").touch()
    for name, expected in {"private": "", "slave": "file", "shared": "file"}.items():
        assert daemon.docker("exec", name, "ls", "/s/late").text == expected, name
    inside = "mkdir /s/inner; mount -t tmpfs tmpfs /s/inner; touch /s/inner/mark"
    daemon.docker("exec", "shared", "sh", "-c", inside)
    assert (tree / "inner" / "mark").exists()
    assert daemon.docker("exec", "slave", "ls", "/s/inner").text == "mark"
    assert daemon.docker("exec", "private", "ls", "/s/inner").text == ""


def test_what_cannot_be_passed_on_is_refused(daemon: Daemon, tree: Path) -> None:
    """At the start, as by dockerd: the mount may be another one then."""
    mount("--make-private", str(tree))
    words = (*NONE, *bound(tree, "bind-propagation=rshared"), "busybox", "true")
    said = refusal(daemon, "run", "--rm", *words, code=125)
    assert f"path {tree} is mounted on {tree} but it is not a shared mount" in said


def test_read_only_goes_as_deep_as_was_asked_for(daemon: Daemon, tree: Path) -> None:
    """All of it, unless the mounts below are to be written to, or are not to be there."""
    write = "touch /s/a && echo top; touch /s/below/a && echo below; ls /s/below"
    whole = shown(daemon, *bound(tree, "readonly"), script=write)
    assert whole.count("Read-only file system") == 2
    alone = shown(daemon, *bound(tree, "readonly", "bind-recursive=writable"), script=write)
    assert alone.count("Read-only file system") == 1
    assert "below\n" in alone
    forced = ("readonly", "bind-recursive=readonly", "bind-propagation=rprivate")
    assert shown(daemon, *bound(tree, *forced), script=write).count("Read-only") == 2
    assert shown(daemon, *bound(tree, "bind-recursive=disabled"), script="ls /s/below") == ""


def test_labels_are_ignored_and_told_of(daemon: Daemon, tree: Path) -> None:
    """SELinux is not in use here; dockerd says nothing."""
    made = daemon.docker("create", *NONE, "-v", f"{tree}:/s:ro,z", "busybox")
    assert made.error_text == (
        'WARNING: SELinux is not in use: the labels "z" and "Z" of mounts are ignored'
    )


@pytest.mark.timeout(300)
def test_a_link_swapped_in_during_a_start_leads_nowhere(daemon: Daemon, tree: Path) -> None:
    """A part of a volume that is a directory at one moment and a link out of it at the next."""
    (tree / "secret").touch()
    daemon.docker("volume", "create", "swapped")
    place = Path(daemon.docker("volume", "inspect", "swapped", "-f", "{{.Mountpoint}}").text)
    ended = threading.Event()

    def swap() -> None:
        part, aside = place / "part", place / "aside"
        aside.symlink_to(tree)
        part.mkdir()
        while not ended.is_set():
            with suppress(OSError):
                exchange(part, aside)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        wait_until((place / "part").exists, "the swapping has begun")
        option = ("--mount", "type=volume,src=swapped,dst=/s,volume-subpath=part")
        for _ in range(5):
            ran = daemon.docker("run", "--rm", *NONE, *option, "busybox", "ls", "/s", code=None)
            assert "secret" not in ran.text
            assert ran.code == 0 or "cannot access path part of volume swapped" in ran.error_text
    finally:
        ended.set()
        thread.join()
        daemon.docker("volume", "rm", "swapped")


def exchange(one: Path, other: Path) -> None:
    """Swap two names in one step."""
    libc = ctypes.CDLL(None, use_errno=True)
    first, second = (ctypes.c_char_p(str(path).encode()) for path in (one, other))
    if libc.renameat2(-100, first, -100, second, 2) != 0:
        raise OSError(ctypes.get_errno(), "renameat2")
