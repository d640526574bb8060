"""Debian's docker-registry beside the engine, with images that are known to the last byte."""

from __future__ import annotations

import hashlib
import io
import json
import random
import subprocess
import tarfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

IMAGES: Final = 2
BLOB_BYTES: Final = 3_000_000
PORT: Final = 5000
CUT_PORT: Final = 5001  # what the engine pulls from
START_LIMIT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Pullable:
    """An image of the registry, and the digest of its file /blob."""

    name: str
    sha256: str


class ChaosRegistry:
    """Its data lies in `folder`; `entering` leads into the engine's network namespace."""

    def __init__(self, folder: Path, entering: Sequence[str]) -> None:
        self._folder, self._entering = folder, entering
        self._process: subprocess.Popen[bytes] | None = None
        self.images: list[Pullable] = []

    def start(self) -> None:
        """Return at once; `fill` waits for it."""
        self._folder.mkdir()
        config = {
            "version": 0.1,
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(self._folder / "data")}},
            "http": {"addr": f"127.0.0.1:{PORT}", "secret": "x"},
        }
        (self._folder / "config.yml").write_text(json.dumps(config))
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._entering, "docker-registry", "serve", str(self._folder / "config.yml")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def fill(self, docker: Callable[..., subprocess.CompletedProcess[bytes]]) -> None:
        """Build the images with the engine, push them, and take them away from it.

        Raises:
            OSError: the registry does not come up.
        """
        for number in range(IMAGES):
            name = f"127.0.0.1:{CUT_PORT}/chaos/{number}:1"
            blob = random.Random(number).randbytes(BLOB_BYTES)
            _must(docker("build", "-q", "-t", name, "-", stdin=_context(blob)))
            self._push(docker, name)
            _must(docker("rmi", name))
            self.images.append(Pullable(name, hashlib.sha256(blob).hexdigest()))

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _push(self, docker: Callable[..., subprocess.CompletedProcess[bytes]], name: str) -> None:
        deadline = time.monotonic() + START_LIMIT_S
        while (done := docker("push", "-q", name)).returncode:
            if time.monotonic() > deadline:
                _must(done)
            time.sleep(0.2)


def _context(blob: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, data in (("Dockerfile", b"FROM busybox\nCOPY blob /blob\n"), ("blob", blob)):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return packed.getvalue()


def _must(done: subprocess.CompletedProcess[bytes]) -> None:
    if done.returncode:
        raise OSError(done.stderr.decode(errors="replace"))
