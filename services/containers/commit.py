"""`docker commit`: what a container has changed becomes a layer, its settings a configuration.

Source: Engine API, ImageCommit; moby, daemon/commit.go and daemon/containerd/image_commit.go.
"""

from __future__ import annotations

import os
import tarfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

import msgspec
import trio

from services.containers.archives.archives import Archives, refuse_leaving
from services.containers.archives.changes import Change, ChangeKind, Trees, changes
from services.containers.archives.pack import Packer
from services.containers.archives.root import PLACE
from services.containers.config import ContainerConfig, HealthConfig
from services.containers.container import Container
from services.containers.journal import Journal, container_event
from services.containers.merge import merge_image_config
from services.containers.model import Definition, State
from services.errors import EngineError
from services.images import (
    HealthcheckConfig,
    HistoryEntry,
    Image,
    Platform,
    Reference,
    RunConfig,
)
from services.images.changes import COMMITTED
from services.images.compose import Recipe
from services.images.instructions import apply_instructions
from services.images.layers import Send, compressed
from services.images.platform import normalise
from services.images.times import rfc3339_ns
from services.measures import Durations

WHITEOUT: Final = ".wh."

Act = Callable[[Container], Awaitable[None]]


class ImageStore(Protocol):
    """What is needed of the images service."""

    async def resolve(self, ref: str) -> Image:
        """The image that a text names."""

    async def of_platform(self, image: Image, platform: Platform, ref: str) -> Image:
        """The image as one of its platforms has it."""

    async def compose(self, recipe: Recipe, reference: Reference | None, action: str) -> str:
        """Make an image; its ID."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitRequest:
    """What POST /commit asks for. `config` is the body: what it leaves out is the container's."""

    reference: Reference | None = None
    author: str = ""
    comment: str = ""
    pause: bool = True
    changes: Sequence[str] = ()
    config: ContainerConfig | None = None


class Committer:
    """Makes images of containers."""

    def __init__(
        self,
        *,
        archives: Archives,
        images: ImageStore,
        journal: Journal,
        hold: Act,
        let_go: Act,
        actions: Durations,
    ) -> None:
        self._archives, self._images, self._journal = archives, images, journal
        self._hold, self._let_go = hold, let_go
        self._actions = actions

    async def commit(self, container: Container, request: CommitRequest) -> str:
        """Make an image of a container; its ID.

        Raises:
            Conflict: it is being removed.
            InvalidParameter: a change is not allowed or malformed.
        """
        with self._actions.timed("commit"):
            return await self._commit(container, request)

    async def _commit(self, container: Container, request: CommitRequest) -> str:
        refuse_leaving(container, "commit")
        run_config = _run_config(container.definition.config, request)
        base = await self._base(container.definition)
        now_ns = time.time_ns()
        command = " ".join(container.definition.config.cmd or ())
        author = request.author or base.config.author or ""
        async with (
            self._paused(container, request.pause),
            self._archives.compared(container) as trees,
        ):
            is_changed = await self._archives.has_changes(trees)
            recipe = Recipe(
                base=base,
                layer=compressed(partial(write_layer, trees)) if is_changed else None,
                config=run_config,
                platform=base.platform,
                author=author,
                step=HistoryEntry(
                    created=rfc3339_ns(now_ns),
                    created_by=command,
                    author=author,
                    comment=request.comment,
                    empty_layer=not is_changed,
                ),
            )
            image_id = await self._images.compose(recipe, request.reference, COMMITTED)
        reference = request.reference
        attributes = {
            "comment": request.comment,
            "imageID": image_id,
            "imageRef": "" if reference is None else reference.familiar,
        }
        await self._journal.tell(container_event(container, "commit", attributes))
        return image_id

    async def _base(self, definition: Definition) -> Image:
        """The container's image, as the platform has it that the container is of."""
        image = await self._images.resolve(definition.image_id)
        manifest = definition.image_manifest
        if manifest is None or image.manifest is None or image.manifest.digest == manifest.digest:
            return image
        said = manifest.platform or {}
        platform = normalise(
            said.get("os", ""), said.get("architecture", ""), said.get("variant", "")
        )
        return await self._images.of_platform(image, platform, definition.config.image)

    @asynccontextmanager
    async def _paused(self, container: Container, wanted: bool) -> AsyncIterator[None]:
        """Hold a running container still, so that the files fit together."""
        await container.settle()
        if not wanted or container.state is not State.RUNNING:
            yield
            return
        try:
            with suppress(EngineError):  # it has just ended: nothing moves then either
                await self._hold(container)
            yield
        finally:
            with trio.CancelScope(shield=True), suppress(EngineError):  # the same
                await self._let_go(container)


def write_layer(trees: Trees, send: Send) -> None:
    """The changes as a layer's tar, as they are found. Blocks.

    Source: OCI image-spec, layer.md, "Representing Changes".
    """
    packer = Packer(trees.merged, send)

    def visit(change: Change) -> None:
        name = change.path.lstrip("/")
        if change.kind is ChangeKind.DELETED:
            above, _, last = name.rpartition("/")
            gone = tarfile.TarInfo(f"{above}/{WHITEOUT}{last}".lstrip("/"))
            packer.put(gone.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))
            return
        with (
            suppress(FileNotFoundError),  # a container that was not paused removed it meanwhile
            trees.merged.opened(change.path, PLACE, follow=False) as file,
        ):
            packer.add(file, name, os.fstat(file))

    changes(trees, visit)
    packer.end()


def _run_config(own: ContainerConfig, request: CommitRequest) -> RunConfig:
    """The body with the changes; what they do not say is as in the container.

    A body that says nothing is as none: the changes are made to the container's settings, so that
    they can also empty one (`CMD []`), and what is joined keeps its order.
    """
    body = request.config
    base = own if body is None or body == ContainerConfig() else body
    asked = apply_instructions(to_run_config(base), request.changes)
    whole = to_run_config(merge_image_config(from_run_config(asked), to_run_config(own)))
    return msgspec.structs.replace(whole, on_build=asked.on_build)


def to_run_config(config: ContainerConfig) -> RunConfig:
    """The part of a container's settings that an image can have."""
    said = {
        name: None if value is msgspec.UNSET else value
        for name, value in msgspec.structs.asdict(config).items()
        if name in RunConfig.__struct_fields__
    }
    health = config.healthcheck
    said["healthcheck"] = None
    if isinstance(health, HealthConfig):
        said["healthcheck"] = HealthcheckConfig(
            test=health.test,
            interval_ns=health.interval,
            timeout_ns=health.timeout,
            retries=health.retries,
            start_period_ns=health.start_period,
            start_interval_ns=health.start_interval,
        )
    return RunConfig(**said)


def from_run_config(config: RunConfig) -> ContainerConfig:
    """An image's settings as if a client had asked for them."""
    return merge_image_config(ContainerConfig(), config)
