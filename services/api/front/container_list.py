"""GET /containers/json: which containers, in which order, each encoded once until it changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, Protocol

import msgspec

from services.api.filters.containers import container_filters
from services.api.types.containers import now_ns, status_text, summary_to_wire
from services.api.versions.version import CURRENT, ApiVersion
from services.api.wire.query import Query
from services.containers import Container, ContainerTable
from services.containers.sizes import Size

NO_SIZES: Final[Mapping[str, Size]] = MappingProxyType({})


_Shown = tuple[int, str, str, tuple[str, ...], ApiVersion]
"""What an encoded element was made from."""


class ImageNames(Protocol):
    """What the containers' images are called at this moment."""

    def name_of(self, container: Container) -> str:
        """The name by which it was made; the image's id if that means another image by now."""

    def family_of(self, refs: Iterable[str]) -> frozenset[str]:
        """The ids of the images that `refs` mean, and of all that were built on them."""


class ContainerList:
    """Answers list requests from memory."""

    def __init__(self, table: ContainerTable) -> None:
        self._table = table
        self._encoded: dict[str, tuple[_Shown, bytes]] = {}

    def choose(self, query: Query, images: ImageNames) -> list[Container]:
        """The containers that a request asks for, newest first.

        Raises:
            InvalidParameter: an unknown filter or an impossible value.
            NotFound: `before` or `since` name no container.
        """
        given = query.filters()
        family = images.family_of(given.get("ancestor", ()))
        filters = container_filters(given, table=self._table, family=family)
        limit = query.integer("limit")
        show_all = query.boolean("all") or limit > 0 or filters.shows_all
        chosen = [c for c in self._table if (show_all or c.is_running) and filters.choose(c)]
        chosen.sort(key=lambda c: c.definition.created_at_ns, reverse=True)
        return chosen[:limit] if limit > 0 else chosen

    def encode(
        self,
        chosen: Iterable[Container],
        images: ImageNames,
        sizes: Mapping[str, Size] = NO_SIZES,
        *,
        version: ApiVersion = CURRENT,
    ) -> bytes:
        """The whole JSON answer; `sizes` by container id, of those that have one to show."""
        now = now_ns()
        parts = [
            _with_size(self._encode(container, now, version, images), sizes.get(container.id))
            for container in chosen
        ]
        return b"[" + b",".join(parts) + b"]\n"

    def _encode(
        self, container: Container, now: int, version: ApiVersion, images: ImageNames
    ) -> bytes:
        """The element without a size, encoded again only when it is not what it was."""
        status, image = status_text(container, now), images.name_of(container)
        links = self._table.link_names_of(container)
        kept = self._encoded.get(container.id)
        key = (container.revision, status, image, links, version)
        if kept is not None and kept[0] == key:
            return kept[1]
        wire = summary_to_wire(
            container, status=status, image=image, link_names=links, version=version
        )
        data = msgspec.json.encode(wire)
        self._forget_removed()
        self._encoded[container.id] = (key, data)
        return data

    def _forget_removed(self) -> None:
        if len(self._encoded) > 2 * len(self._table) + 16:
            self._encoded = {i: v for i, v in self._encoded.items() if self._table.get(i)}


def _with_size(element: bytes, size: Size | None) -> bytes:
    """A size of nothing is left out, as Go does."""
    if size is None:
        return element
    members = (("SizeRw", size.written_bytes), ("SizeRootFs", size.total_bytes))
    shown = "".join(f',"{name}":{count}' for name, count in members if count)
    return b"%b%b}" % (element[:-1], shown.encode())
