"""The steps of one stage that change files: taken from where they are kept, or kept.

A step is found by its key, or in an image of --cache-from. After the first one that is not there
none is looked for: what follows cannot have been made of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from services.images import HistoryEntry, Image, RunConfig
from services.images.compose import Recipe
from services.images.layers import Layer, LayerSource

from .output import StageOutput
from .plan import Stage
from .ports import ImageStore
from .request import BuildRequest
from .reuse import CacheSources
from .stage_state import StageState, history_entry


class StageFiles(Protocol):
    """Files that a COPY or ADD takes from elsewhere than the context."""

    async def image_of(self, source: Stage | str) -> tuple[Image, str]:
        """The image of an earlier stage, or of a reference; and its key."""

    def key_for(self, key: str) -> str:
        """The key under which this build keeps a step: another one where the cache is not used."""

    def hold(self, image: Image) -> None:
        """The build stands on it: nobody takes it away before the build has ended."""


class StepCache:
    """Finds and keeps one stage's steps."""

    def __init__(
        self,
        *,
        request: BuildRequest,
        images: ImageStore,
        files: StageFiles,
        sources: CacheSources,
        output: StageOutput,
    ) -> None:
        self._request, self._images, self._files = request, images, files
        self._sources, self._output = sources, output
        self._uses_cache = request.uses_cache

    async def finish(self, state: StageState) -> Image:
        """The image of all steps."""
        if state.pending:
            *earlier, last = state.pending
            found = None
            if self._request.uses_cache:
                found = await self._images.steps.find(state.key)
            if found is None and self._uses_cache:
                found = await self._reused(state, state.key, earlier, last.created_by or "")
            if found is not None:
                self._files.hold(found)
            state.image = found or await self._made(state, state.key, None, [*earlier, last])
            state.pending.clear()
        return state.image

    async def is_cached(self, state: StageState, key: str, created_by: str) -> bool:
        """Whether the step was made before; the state is then after it.

        With `created_by` "" no other image can tell.
        """
        found = await self._images.steps.find(key) if self._uses_cache else None
        if found is None and self._uses_cache and created_by:
            found = await self._reused(state, key, state.pending, created_by)
        if found is None:
            self._uses_cache = False
            return False
        self._files.hold(found)
        state.image, state.key = found, key
        state.config = found.config.config or RunConfig()
        state.pending.clear()
        await self._output.cached()
        return True

    async def take(
        self, state: StageState, key: str, layer: LayerSource | None, created_by: str
    ) -> None:
        """Keep a step that was just made; the state is then after it."""
        entry = history_entry(created_by, is_empty=layer is None, author=state.author)
        state.image = await self._made(state, key, layer, [entry])
        state.key = key

    async def _reused(
        self, state: StageState, key: str, pending: Sequence[HistoryEntry], created_by: str
    ) -> Image | None:
        """The step as an image of --cache-from has it, which is ours from now on."""
        reused = self._sources.find(state.image, pending, created_by)
        return (
            None if reused is None else await self._made(state, key, reused.layer, reused.entries)
        )

    async def _made(
        self,
        state: StageState,
        key: str,
        layer: LayerSource | Layer | None,
        entries: Sequence[HistoryEntry],
    ) -> Image:
        """An image of these lines of history; the last of them is what it is made by."""
        *earlier, last = entries
        recipe = Recipe(
            base=state.image,
            layer=layer,
            config=state.config,
            platform=state.platform,
            author=state.author,
            step=last,
            earlier=tuple(earlier),
        )
        kept = self._files.key_for(key)
        image = await self._images.steps.make(recipe, kept, last.created_by or "")
        self._files.hold(image)
        return image
