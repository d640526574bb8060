"""What containers' images are called now, and which images were built on which.

Source: moby, daemon/list.go (refreshImage, and the filter `ancestor`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Protocol

import trio

from services.containers import Container
from services.errors import EngineError
from services.images import Catalog, Image

CATALOG_LIMIT_S: Final = 1.0


class Images(Protocol):
    """What is needed of the images."""

    async def catalog(self) -> Catalog:
        """All of them. Raises Unavailable while containerd is away."""

    def catalog_at_once(self) -> Catalog | None:
        """The same without waiting, if that can be."""


class ContainerImages:
    """Asks for the catalog; what was found out of one is kept until there is another."""

    def __init__(self, images: Images, *, can_ask: Callable[[], bool]) -> None:
        self._images = images
        self._can_ask = can_ask  # whether a question would be put to containerd now
        self._now = ImagesNow(None)

    async def now(self) -> ImagesNow:
        """As of this moment; without containerd what was known last, for a list needs no images."""
        if self._now.catalog is not None and not self._can_ask():
            return self.at_once() or self._now
        with trio.move_on_after(CATALOG_LIMIT_S):
            try:
                catalog = await self._images.catalog()
            except EngineError:
                return self._now
            return self._seen(catalog)
        return self._now

    def at_once(self) -> ImagesNow | None:
        """The same without waiting, if that can be."""
        catalog = self._images.catalog_at_once()
        return None if catalog is None else self._seen(catalog)

    def _seen(self, catalog: Catalog) -> ImagesNow:
        if catalog is not self._now.catalog:
            self._now = ImagesNow(catalog)
        return self._now


class ImagesNow:
    """The images at one moment. Without a catalog every container's image is called as it was."""

    def __init__(self, catalog: Catalog | None) -> None:
        self.catalog = catalog
        self._ids: dict[str, str] = {}  # of the names by which containers were made

    def name_of(self, container: Container) -> str:
        """The name by which it was made; the image's id if that means another image by now."""
        name, image_id = container.definition.config.image, container.definition.image_id
        if self.catalog is None or name == image_id:
            return name
        if name not in self._ids:
            image = self._find(name)
            self._ids[name] = image.id if image else ""
        return name if self._ids[name] == image_id else image_id

    def family_of(self, refs: Iterable[str]) -> frozenset[str]:
        """The ids of the images that `refs` mean, and of all that were built on them."""
        parents = [image for ref in refs if (image := self._find(ref)) is not None]
        return frozenset(
            image.id
            for image in self.catalog or ()
            if any(image is parent or _is_built_on(image, parent) for parent in parents)
        )

    def _find(self, ref: str) -> Image | None:
        try:
            return self.catalog.find(ref).image if self.catalog else None
        except EngineError:
            return None


def _is_built_on(image: Image, parent: Image) -> bool:
    layers = parent.diff_ids
    return 0 < len(layers) < len(image.diff_ids) and image.diff_ids[: len(layers)] == layers
