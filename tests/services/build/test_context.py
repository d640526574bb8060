"""A build's context as it comes: compressed in every way, cut off, too large."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import zstandard

from services.build import context
from services.build.context import BuildContexts
from services.errors import InvalidParameter
from tests.services.images.archives import body_of, tar_of

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


def contexts(folder: Path) -> BuildContexts:
    return BuildContexts(folder / "build", disk=trio.CapacityLimiter(2))


@pytest.mark.parametrize("kind", COMPRESSORS)
async def test_every_compression(tmp_path: Path, kind: str) -> None:
    """All that dockerd reads; what was extracted goes with the block."""
    data = COMPRESSORS[kind](tar_of({"Dockerfile": b"FROM x\n", "d/f": b"1"}))
    async with contexts(tmp_path).receive(body_of(data)) as received:
        assert received.read_dockerfile("Dockerfile") == b"FROM x\n"
        assert (received.directory / "context" / "d" / "f").read_bytes() == b"1"
    assert list((tmp_path / "build").iterdir()) == []


@pytest.mark.parametrize("kind", ["plain", "gzip", "xz"])
async def test_one_that_is_cut_off(tmp_path: Path, kind: str) -> None:
    """It is no shorter context, but none; nothing is left of it."""
    data = COMPRESSORS[kind](tar_of({"Dockerfile": os.urandom(20_000)}))
    with pytest.raises(InvalidParameter):
        async with contexts(tmp_path).receive(body_of(data[:10_000])):
            pass
    assert list((tmp_path / "build").iterdir()) == []


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz", "zstd"])
async def test_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """It is stopped at the bound, and nothing is left of it."""
    monkeypatch.setattr(context, "_MAX_CONTEXT_BYTES", 100_000)
    data = COMPRESSORS[kind](tar_of({"Dockerfile": bytes(3_000_000)}))
    with pytest.raises(InvalidParameter, match="expands to more"):
        async with contexts(tmp_path).receive(body_of(data)):
            pass
    assert list((tmp_path / "build").iterdir()) == []
