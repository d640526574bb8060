"""`docker import`: a tar of files becomes an image of one layer.

Source: Engine API, ImageCreate with fromSrc; moby, daemon/containerd/image_import.go.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import trio

from ._groups import single_error
from .compose import Recipe
from .compression import ExpansionLimits
from .inbox import open_inbox, take_body
from .instructions import apply_instructions
from .layers import uploaded
from .model import ImageId
from .oci import HistoryEntry, RunConfig
from .platform import Platform, host_platform
from .ports import Body
from .reference import Reference
from .times import rfc3339_ns

Compose = Callable[[Recipe, Reference | None, str], Awaitable[ImageId]]
"""Makes and names an image; see `Images.compose`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRequest:
    """What is to come of the archive. `platform` None is this machine's."""

    reference: Reference | None = None
    message: str = ""
    changes: Sequence[str] = ()
    platform: Platform | None = None

    def config(self) -> RunConfig:
        """What containers of it start with.

        Raises:
            InvalidParameter: a change is not allowed, or malformed.
        """
        return apply_instructions(RunConfig(), self.changes)


async def import_image(request: ImportRequest, body: Body, compose: Compose) -> ImageId:
    """Make an image of the archive in `body`.

    Raises:
        InvalidParameter: a change is malformed, or the archive is damaged. Nothing is left of it.
    """
    config = request.config()
    send, inbox = open_inbox()
    recipe = Recipe(
        base=None,
        layer=uploaded(inbox, ExpansionLimits()),
        config=config,
        platform=request.platform or host_platform(),
        author="",
        step=HistoryEntry(created=rfc3339_ns(time.time_ns()), comment=request.message),
    )
    with single_error():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take_body, body, send)
            return await compose(recipe, request.reference, "import")
