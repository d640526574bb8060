"""Named contexts: what a FROM, a `--from` or a mount may take instead of a stage or an image.

One is an image's reference, or a tree of files. A tree becomes an image of one layer, kept as a
step by what is in it: so all that takes from images takes from it.

Source: BuildKit, frontend/dockerui/namedcontext.go.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import trio

from services.containers.archives.root import Root
from services.containers.archives.unpack import Rules
from services.errors import EngineError
from services.images import Image, Platform, RunConfig, parse_reference
from services.images.compose import Recipe

from .context import BuildContext
from .finding import Source
from .ports import ImageStore
from .sources import copy_tree, hash_sources
from .stage_state import history_entry, mixed
from .workbench import Workbench

T = TypeVar("T")

_WHOLE: Final = Source(path="/", name="/", is_directory=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedContext:
    """`image` is a reference; without one `open` gives the tree."""

    image: str = ""
    open: Callable[[], AbstractAsyncContextManager[BuildContext]] | None = None


def context_name(ref: str) -> str:
    """What a reference of the Dockerfile is called among named contexts: without what is usual."""
    try:
        return parse_reference(ref).familiar.removesuffix(":latest")
    except EngineError:
        return ref.lower()


async def image_of_tree(
    context: BuildContext,
    scratch: Image,
    *,
    name: str,
    platform: Platform,
    images: ImageStore,
    workbench: Workbench,
    disk: trio.CapacityLimiter,
) -> Image:
    """An image whose files are the context's, made unless it is kept; `scratch` has none."""

    async def in_thread(call: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(call, limiter=disk)

    await context.provide()
    digest = await in_thread(partial(hash_sources, context.root, [_WHOLE]))
    key = mixed("named context", str(platform), digest)
    found = await images.steps.find(key)
    if found is not None:
        return found

    def copy(root: Root) -> None:
        copy_tree(context.root, "/", None, root, "/", Rules())

    async with workbench.container(scratch, RunConfig()) as container:
        async with workbench.writing(container) as root:
            await in_thread(partial(copy, root))
        async with workbench.changes(container) as layer:
            text = f"named context {name}"
            recipe = Recipe(
                base=scratch,
                layer=layer,
                config=RunConfig(),
                platform=platform,
                author="",
                step=history_entry(text, is_empty=layer is None, author=""),
            )
            return await images.steps.make(recipe, key, text)
