"""What images take together."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from services.errors import NotFound
from services.images.model import Image, chain_ids
from services.images.oci import ImageConfig, OciDescriptor, RootFs
from services.images.usage import LayerSizes, Usage, measure_images
from tests.services.images.samples import image


@dataclass
class Snapshots:
    """Each snapshot takes 100 bytes; how often it was asked is counted."""

    missing: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    async def usage(self, key: str) -> Usage:
        self.asked.append(key)
        if key in self.missing:
            raise NotFound(key)

        class Taken:
            size_bytes = 100

        return Taken()


def layered(digit: str, *layers: str) -> Image:
    """An image of layers of 10 bytes, and 5 bytes of documents."""
    return replace(
        image(digit, f"docker.io/library/{digit}:1"),
        layers=tuple(OciDescriptor(digest=f"blob-{one}", size=10) for one in layers),
        config=ImageConfig(rootfs=RootFs(diff_ids=list(layers))),
        content_bytes=5 + 10 * len(layers),
        unpacked_bytes=100 * len(layers),
    )


async def test_shared_layers_count_once() -> None:
    """In total, and in what can be freed; asked for once in all."""
    snapshots = Snapshots()
    sizes = LayerSizes(snapshots)
    images = [layered("a", "x"), layered("b", "x", "y"), layered("c", "z")]
    usage = await measure_images(images, [True, False, False], sizes)
    assert usage.total_bytes == 3 * 5 + 3 * 10 + 3 * 100
    assert usage.reclaimable_bytes == 2 * (5 + 10 + 100)
    assert usage.shared_bytes == (100, 100, 0)
    assert usage.active == 1
    assert await measure_images(images, [True, False, False], sizes) == usage
    assert sorted(snapshots.asked) == sorted({k for i in images for k in chain_ids(i.diff_ids)})


async def test_what_is_not_unpacked_is_asked_for_again() -> None:
    """It takes nothing until it is."""
    snapshots = Snapshots(missing={"x"})
    sizes = LayerSizes(snapshots)
    assert await sizes.bytes_of(["x"]) == {"x": 0}
    snapshots.missing.clear()
    assert await sizes.bytes_of(["x"]) == {"x": 100}
