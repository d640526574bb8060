"""Which names a prune takes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from services.images.filters import ImageFilters
from services.images.model import ImageId, ImageUse, dangling_name
from services.images.prune import PruneFilters, choose
from tests.services.images.samples import catalog, id_of, image

NAME = "docker.io/library/{}:1"
MARK = dangling_name(id_of("a"))


def pruned(
    *names: str, used_as: Sequence[str] = (), every: bool = True
) -> list[tuple[list[str], bool]]:
    """What goes of one image with these names; used by containers under these texts."""
    uses = [ImageUse(container_id="c", is_running=False, image=text) for text in used_as]

    def in_use(image_id: ImageId, /) -> Sequence[ImageUse]:
        return uses if image_id == id_of("a") else ()

    chosen = choose(catalog(image("a", *names)), PruneFilters(every=every), in_use)
    return [([name.text for name in one.names], one.keeps_dangling) for one in chosen]


ONE, TWO = NAME.format("one"), NAME.format("two")


@pytest.mark.parametrize(
    ("names", "used_as", "every", "gone"),
    [
        ([MARK], [], False, [([MARK], False)]),
        ([MARK], ["one:1"], False, []),
        ([ONE], [], False, []),
        ([ONE], [], True, [([ONE], False)]),
        ([ONE, TWO], ["one:1"], True, [([TWO], False)]),
        ([ONE, TWO], ["one:1", "two:1"], True, []),
        ([ONE], [id_of("a")], True, [([ONE], True)]),
        ([ONE], ["a000"], True, [([ONE], True)]),
        ([ONE], ["other"], True, [([ONE], True)]),
    ],
)
def test_names(
    names: list[str], used_as: list[str], every: bool, gone: list[tuple[list[str], bool]]
) -> None:
    """A container keeps the name that it was made by; without one of those, the image."""
    assert pruned(*names, used_as=used_as, every=every) == gone


def test_filters_hold_too() -> None:
    """An image that they do not let through stays."""
    kept = PruneFilters(every=True, filters=ImageFilters(labels=("x",)))
    assert choose(catalog(image("a", ONE)), kept, lambda _: ()) == ()
