"""A registry on the loopback of each engine's network namespace, all with the same image."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from .archives import LAYERS, layer_tar
from .bench import Bench
from .engines import START_LIMIT_S, Engine, EngineFailed, Program

PORT: Final = 5000
REFERENCE: Final = f"127.0.0.1:{PORT}/bench/pull:1"
_DOCKER: Final = "application/vnd.docker"


def is_installed() -> bool:
    """Whether there is a registry to run."""
    return shutil.which("docker-registry") is not None


@contextmanager
def registries(bench: Bench) -> Iterator[None]:
    """Each engine finds REFERENCE within the block."""
    folder = bench.folder / "registry"
    _store_image(folder / "data", bench.scale.image_bytes)
    with ExitStack() as running:
        running.callback(shutil.rmtree, folder)
        for engine in bench.engines.values():
            program = _start(folder, engine)
            running.callback(program.stop)
            _wait_pullable(engine, program)
        yield


def _start(folder: Path, engine: Engine) -> Program:
    """A registry inside the engine's network namespace; what it reads is everybody's."""
    config = folder / f"{engine.name}.yml"
    settings = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": f"127.0.0.1:{PORT}"},
    }
    config.write_text(json.dumps(settings))
    inside = ["nsenter", f"--net=/proc/{engine.pid}/ns/net"]
    up = Program([*inside, "ip", "link", "set", "lo", "up"], log=folder / "log")
    up.start()
    up.wait()
    program = Program(
        [*inside, "docker-registry", "serve", str(config)], log=folder / f"{engine.name}.log"
    )
    program.start()
    return program


def _wait_pullable(engine: Engine, program: Program) -> None:
    """Return once the engine has pulled the image, and has it no more."""
    deadline = time.monotonic() + START_LIMIT_S
    while True:
        try:
            engine.docker("pull", "-q", REFERENCE)
        except EngineFailed:
            program.check_alive()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            engine.docker("rmi", REFERENCE)
            return


def _store_image(root: Path, size: int) -> None:
    """Lay an image of `size` bytes in LAYERS layers out as docker-registry's file system has it."""
    store = _Store(root)
    layers, diff_ids = [], []
    for number in range(LAYERS):
        plain = layer_tar(f"layer{number}", size // LAYERS)
        diff_ids.append(_digest(plain))
        packed = gzip.compress(plain, 1)
        layers.append(store.blob(packed, f"{_DOCKER}.image.rootfs.diff.tar.gzip"))
    config = {
        "architecture": os.uname().machine.replace("x86_64", "amd64").replace("aarch64", "arm64"),
        "os": "linux",
        "config": {"Cmd": ["/data/0"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_DOCKER}.distribution.manifest.v2+json",
        "config": store.blob(json.dumps(config).encode(), f"{_DOCKER}.container.image.v1+json"),
        "layers": layers,
    }
    store.tag("1", store.blob(json.dumps(manifest).encode(), "")["digest"])


class _Store:
    """docker-registry's folders, as its storage driver writes them."""

    def __init__(self, root: Path) -> None:
        self._root = root / "docker" / "registry" / "v2"
        self._repository = self._root / "repositories" / "bench" / "pull"

    def blob(self, data: bytes, media_type: str) -> dict[str, Any]:
        """Store a blob for the repository; its descriptor."""
        digest = _digest(data)
        value = digest.partition(":")[2]
        folder = self._root / "blobs" / "sha256" / value[:2] / value
        folder.mkdir(parents=True)
        (folder / "data").write_bytes(data)
        _link(self._repository / "_layers" / "sha256" / value, digest)
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def tag(self, name: str, digest: str) -> None:
        """Let a tag mean a manifest."""
        value = digest.partition(":")[2]
        manifests = self._repository / "_manifests"
        _link(manifests / "revisions" / "sha256" / value, digest)
        _link(manifests / "tags" / name / "current", digest)
        _link(manifests / "tags" / name / "index" / "sha256" / value, digest)


def _link(folder: Path, digest: str) -> None:
    folder.mkdir(parents=True)
    (folder / "link").write_text(digest)


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
