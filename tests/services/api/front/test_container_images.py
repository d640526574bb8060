"""What containers' images are called, and which images descend from which."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec
import pytest
import trio
import trio.testing

from services.api.front.container_images import ContainerImages, ImagesNow
from services.containers import Container
from services.containers.config import ContainerConfig
from services.errors import Unavailable
from services.images import Catalog, Image
from services.images.oci import RootFs
from tests.services.api.containers import container
from tests.services.images.samples import catalog, id_of, image

BUSYBOX = "docker.io/library/busybox:latest"


def layered(made: Image, *layers: str) -> Image:
    """The image with these layers."""
    rootfs = RootFs(diff_ids=list(layers))
    return replace(made, config=msgspec.structs.replace(made.config, rootfs=rootfs))


def container_of(digit: str, name: str) -> Container:
    """A container made from the image with this id, by this name."""
    return container("c", image_id=id_of(digit), config=ContainerConfig(image=name))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("busybox", "busybox"),
        ("docker.io/library/busybox:latest", "docker.io/library/busybox:latest"),
        ("busybox:old", id_of("1")),  # means another image by now
        ("gone:1", id_of("1")),
        (id_of("1"), id_of("1")),
        ("BAD NAME", id_of("1")),
    ],
)
def test_a_name_is_shown_while_it_means_the_image(name: str, shown: str) -> None:
    """As it was written when the container was made."""
    now = ImagesNow(catalog(image("1", BUSYBOX), image("2", "docker.io/library/busybox:old")))
    for _ in range(2):  # found out, and remembered
        assert now.name_of(container_of("1", name)) == shown


@pytest.mark.parametrize(
    ("ref", "family"),
    [
        ("busybox", "123"),
        (id_of("1"), "123"),
        ("child", "23"),
        ("grandchild", "3"),
        ("bare", "5"),  # without layers it is nobody's parent
        ("nosuch", ""),
        ("", ""),
        ("BAD NAME", ""),
    ],
)
def test_a_family(ref: str, family: str) -> None:
    """The image, and all whose layers begin with all of its layers."""
    now = ImagesNow(
        catalog(
            layered(image("1", BUSYBOX), "a"),
            layered(image("2", "docker.io/library/child:latest"), "a", "b"),
            layered(image("3", "docker.io/library/grandchild:latest"), "a", "b", "c"),
            layered(image("4", "docker.io/library/stranger:latest"), "b", "a"),
            image("5", "docker.io/library/bare:latest"),
        )
    )
    assert now.family_of([ref]) == {id_of(digit) for digit in family}
    assert now.family_of([ref, "nosuch"]) == now.family_of([ref])
    assert now.family_of([]) == frozenset()


@dataclass
class FakeImages:
    """A catalog; None while containerd is away."""

    present: Catalog | None
    hangs: bool = False

    async def catalog(self) -> Catalog:
        if self.hangs:
            await trio.sleep_forever()
        if self.present is None:
            raise Unavailable("containerd is away")
        return self.present

    def catalog_at_once(self) -> Catalog | None:
        return self.present


async def test_without_containerd_what_was_known_last_is_told() -> None:
    """A list of containers does not need it; one that never asked shows the names as they were."""
    images = FakeImages(None)
    made = ContainerImages(images, can_ask=lambda: True)
    one = container_of("1", "moved")
    assert (await made.now()).name_of(one) == "moved"
    assert made.at_once() is None
    images.present = catalog(image("1", BUSYBOX))
    assert (await made.now()).name_of(one) == id_of("1")
    assert made.at_once() is await made.now()
    images.present = None
    assert (await made.now()).name_of(one) == id_of("1")


async def test_nobody_waits_for_a_containerd_that_is_known_to_be_away(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Only who never saw the catalog asks all the same: it may be a daemon that just starts."""
    images = FakeImages(catalog(image("1", BUSYBOX)))
    one = container_of("1", "moved")
    away = ContainerImages(images, can_ask=lambda: False)
    assert (await away.now()).name_of(one) == id_of("1")
    images.present, images.hangs = None, True
    assert (await away.now()).name_of(one) == id_of("1")
    assert trio.current_time() == 0
