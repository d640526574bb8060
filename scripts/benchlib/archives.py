"""Images as archives. Half of a layer is noise, so that nothing is cheaper than it would be."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any, Final

LAYERS: Final = 8
FILES: Final = 100  # in each layer


def write_archive(path: Path, reference: str, size: int) -> None:
    """A docker-archive of LAYERS layers, about `size` bytes together."""
    layers = [layer_tar(f"layer{number}", size // LAYERS) for number in range(LAYERS)]
    config: dict[str, Any] = {
        "architecture": os.uname().machine.replace("x86_64", "amd64").replace("aarch64", "arm64"),
        "os": "linux",
        "config": {"Cmd": ["/layer0/0"]},
        "rootfs": {
            "type": "layers",
            "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers],
        },
    }
    names = [f"{number}/layer.tar" for number in range(LAYERS)]
    manifest = [{"Config": "c.json", "RepoTags": [reference], "Layers": names}]
    with tarfile.open(path, mode="w") as tar:
        _add(tar, "c.json", json.dumps(config).encode())
        for name, layer in zip(names, layers, strict=True):
            _add(tar, name, layer)
        _add(tar, "manifest.json", json.dumps(manifest).encode())


def layer_tar(folder: str, size: int) -> bytes:
    """A layer of FILES files in `folder`, about `size` bytes together, half of them noise."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for number in range(FILES):
            half = size // FILES // 2
            _add(tar, f"{folder}/{number}", os.urandom(half) + bytes(half))
    return layer.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
