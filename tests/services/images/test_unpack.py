"""Layers that expand to more than they may, on a real containerd."""

from __future__ import annotations

import gzip
import tarfile
from pathlib import Path

import pytest

from services.errors import InvalidParameter
from services.images.compression import ExpansionLimits
from services.images.unpack import Unpacker
from tests.services.images.archives import TestImage, body_of, digest_of, docker_members, tar_of
from tests.services.images.conftest import Engine, collect, open_engine

pytestmark = pytest.mark.engine

LARGE_BYTES = 3 << 30
LIMITS = ExpansionLimits(free_bytes=32 << 20, ratio=10)


def sparse(size: int) -> bytes:
    """A tar of one file of `size` bytes of which nothing is there."""
    info = tarfile.TarInfo("hole")
    info.pax_headers = {
        "GNU.sparse.size": str(size),
        "GNU.sparse.numblocks": "1",
        "GNU.sparse.map": f"{size},0",
    }
    return info.tobuf(tarfile.PAX_FORMAT) + bytes(1024)


async def load(engine: Engine, layer: bytes, diff_id: str) -> None:
    """Load an image of one layer with an unpacker that looks often."""
    unpacker = Unpacker(
        engine.containerd, snapshotter="overlayfs", limits=LIMITS, looks_every_s=0.02
    )
    engine.images._loader._unpacker = unpacker
    image = TestImage(layers=[layer], diff_ids=[diff_id])

    async def ignore(_news: object) -> None:
        return

    await engine.images.load(body_of(tar_of(docker_members(image))), ignore)


@pytest.mark.parametrize("kind", ["sparse", "zip"])
async def test_a_layer_that_expands_too_far(containerd_address: Path, kind: str) -> None:
    """It is stopped long before it is whole, and nothing of it stays."""
    if kind == "sparse":
        layer = sparse(LARGE_BYTES)
    else:
        head = tarfile.TarInfo("zeros")
        head.size = 256 << 20
        layer = gzip.compress(head.tobuf() + bytes(head.size), 1)
    async with open_engine(containerd_address) as engine:
        before = await engine.leftovers()
        with pytest.raises(InvalidParameter, match="expands to more than the engine accepts"):
            await load(engine, layer, digest_of(layer))
        await collect(engine.containerd)
        assert await engine.leftovers() == before


async def test_a_layer_that_may(containerd_address: Path) -> None:
    """An honest one is unpacked under the same bound."""
    layer = tar_of({"f": bytes(30 << 20)})
    async with open_engine(containerd_address) as engine:
        await load(engine, layer, digest_of(layer))
        assert await engine.images.inspect("busybox")
