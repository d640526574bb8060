"""tests.support.leftovers: it finds what is one daemon's, and nothing of another's."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.daemon import wait_until
from tests.support.leftovers import Bridge, Leftovers

pytestmark = pytest.mark.engine


@contextmanager
def mounted(kind: str, options: str, target: Path) -> Iterator[None]:
    """A file system at `target` within the block."""
    command = ["mount", "-t", kind, "-o", options, kind, str(target)]
    subprocess.run(command, check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(target)], check=True)


@pytest.mark.parametrize(("enters", "found"), [(False, False), (True, True)])
def test_processes_are_told_by_their_root(enters: bool, found: bool) -> None:
    """One that only sees our mounts may be another daemon's container on its way into its root."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wf", dir="/tmp")))
        for name in ("up", "root"):
            (folder / name).mkdir()
        stack.enter_context(mounted("tmpfs", "size=8m", folder / "up"))
        (folder / "up" / "u").mkdir()
        (folder / "up" / "w").mkdir()
        options = f"lowerdir=/usr,upperdir={folder}/up/u,workdir={folder}/up/w"
        stack.enter_context(mounted("overlay", options, folder / "root"))
        enter = f"cd {folder}/root; mkdir -p o; pivot_root . o; " if enters else ""
        script = f"{enter}exec sleep 100000"
        process = stack.enter_context(
            subprocess.Popen(["unshare", "--mount", "--propagation", "private", "sh", "-c", script])
        )
        stack.callback(process.kill)
        wait_until(
            lambda: Path(f"/proc/{process.pid}/comm").read_text() == "sleep\n", "it has begun"
        )
        bridge = Bridge(name="nothing", address="10.0.0.1")
        pids = list(Leftovers(folder, bridge)._processes())
        assert (process.pid in pids) is found
