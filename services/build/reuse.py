"""`--cache-from`: steps that are taken out of images which were built elsewhere.

Such an image says in its history what each of its layers was made by. Where its beginning is the
image so far, and its next steps are those that the Dockerfile has next, its next layer is what the
step would make. As with dockerd nothing but the text of a step is compared; ours holds a digest of
the files that it copies.

Source: moby, image/cache/cache.go (ImageCache).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.images import HistoryEntry, Image
from services.images.layers import Layer

_NOP: Final = re.compile(r"#\(nop\)\s+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reused:
    """What an image has for a step: the lines of its history from there, and the layer if any."""

    entries: tuple[HistoryEntry, ...]
    layer: Layer | None


class CacheSources:
    """The images that one stage may take steps from. Once one had a step, it is kept to."""

    def __init__(self, images: Sequence[Image]) -> None:
        self._images = [image for image in images if _is_whole(image)]

    def find(self, image: Image, pending: Sequence[HistoryEntry], created_by: str) -> Reused | None:
        """The step `created_by` that follows `image` and, without a layer, `pending`."""
        for source in self._images:
            reused = _of(source, image, [*(entry.created_by for entry in pending), created_by])
            if reused is not None:
                self._images = [source]
                return reused
        return None


def _is_whole(image: Image) -> bool:
    of_layers = sum(not entry.empty_layer for entry in image.history)
    return of_layers == len(image.layers) == len(image.diff_ids) and any(
        image.manifest is not None
        and manifest.is_available
        and manifest.descriptor.digest == image.manifest.digest
        for manifest in image.manifests
    )


def _of(source: Image, image: Image, wanted: Sequence[str | None]) -> Reused | None:
    before, layers = len(image.history), len(image.diff_ids)
    said = source.history[before : before + len(wanted)]
    begins_so = (
        source.platform == image.platform
        and [_line(entry) for entry in source.history[:before]] == list(map(_line, image.history))
        and source.diff_ids[:layers] == image.diff_ids
        and sum(not entry.empty_layer for entry in source.history[:before]) == layers
    )
    if not begins_so or [_text(e.created_by) for e in said] != [_text(one) for one in wanted]:
        return None
    *earlier, last = said
    if not all(entry.empty_layer for entry in earlier):
        return None
    layer = None
    if not last.empty_layer:
        layer = Layer(descriptor=source.layers[layers], diff_id=source.diff_ids[layers])
    return Reused(entries=tuple(said), layer=layer)


def _line(entry: HistoryEntry) -> tuple[str, str | None, bool]:
    return _text(entry.created_by), entry.created, bool(entry.empty_layer)


def _text(created_by: str | None) -> str:
    """Without dockerd's second blank before what ran no command."""
    return _NOP.sub("#(nop) ", created_by or "", count=1)
