"""Containers that a build works in: made of the image so far, changed, and gone again.

What they have changed becomes the next layer. Those of builds that were killed are known by an
annotation, and taken away by the next engine.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

import msgspec
import trio

from services.containers import Container, CreateRequest
from services.containers.archives.root import Root
from services.containers.commit import write_layer
from services.containers.config import ContainerConfig, HealthConfig, HostConfig, LogConfig
from services.errors import EngineError
from services.images import Image, RunConfig
from services.images.layers import LayerSource, compressed
from services.images.oci import INDEX_TYPES

from .builder import ANNOTATION
from .errors import CommandFailed
from .output import Decoder, StageOutput
from .ports import Containers

REMOVAL_LIMIT_S: Final = 60.0
NO_NETWORK: Final = HostConfig(network_mode="none", log_config=LogConfig(type="none"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What a RUN runs. `text` is what it is called when it fails."""

    words: list[str]
    text: str
    env: Mapping[str, str]
    host: HostConfig
    line: int


class Workbench:
    """Makes the working containers of one build, whose id is `build_id`."""

    def __init__(self, *, containers: Containers, build_id: str, keeps_failed: bool) -> None:
        """`keeps_failed`: the container of a RUN that failed stays, to be looked at."""
        self._containers = containers
        self._build_id, self._keeps_failed = build_id, keeps_failed

    @asynccontextmanager
    async def container(
        self,
        image: Image,
        config: RunConfig,
        *,
        words: list[str] | None = None,
        env: Mapping[str, str] | None = None,
        host: HostConfig = NO_NETWORK,
    ) -> AsyncIterator[Container]:
        """A container of `image`, not started; gone when the block ends, whatever is in it.

        Without `words` it is for its files alone, and has no others than the image.
        """
        annotations = {ANNOTATION: self._build_id}
        created = await self._containers.create(
            CreateRequest(
                config=ContainerConfig(
                    image=image.id,
                    entrypoint=[""],
                    cmd=words or ["/"],
                    env=_environment(config, env or {}),
                    user=config.user or "",
                    working_dir=config.working_dir or "",
                    healthcheck=HealthConfig(test=["NONE"]),
                ),
                host_config=msgspec.structs.replace(host, annotations=annotations),
                platform=str(image.platform) if image.target.media_type in INDEX_TYPES else "",
                is_to_run=words is not None,
            )
        )
        container = created.container
        try:
            yield container
        except CommandFailed:
            if not self._keeps_failed:
                await self._remove(container)
            raise
        except BaseException:
            await self._remove(container)
            raise
        await self._remove(container)

    async def run(self, container: Container, command: Command, output: StageOutput) -> None:
        """Start it, hand on its output, wait for its end.

        Raises:
            CommandFailed: it ended with another code than 0.
        """
        decoder = Decoder()
        async with (
            self._containers.waiter(container, "next-exit") as waiter,
            self._containers.attach(container, stdin=False, stdout=True, stderr=True) as attached,
        ):
            await self._containers.start(container)
            with suppress(trio.EndOfChannel):
                while True:
                    for stream, data in await attached.streams.receive_some():
                        is_stderr = stream.name == "STDERR"
                        if text := decoder.decode(is_stderr=is_stderr, data=data):
                            await output.print(text, is_stderr=is_stderr)
            status = await waiter.wait()
        if status.code:
            raise CommandFailed(command.text, status.code, command.line)

    @asynccontextmanager
    async def changes(self, container: Container) -> AsyncIterator[LayerSource | None]:
        """What a container has changed, as a layer to be made in the block; None for nothing."""
        archives = self._containers.archives
        async with archives.compared(container) as trees:
            has_changes = await archives.has_changes(trees)
            yield compressed(partial(write_layer, trees)) if has_changes else None

    def reading(self, container: Container) -> AbstractAsyncContextManager[Root]:
        """Its files, for reading in threads."""
        return self._containers.archives.reading(container)

    def writing(self, container: Container) -> AbstractAsyncContextManager[Root]:
        """Its files, to be changed in threads."""
        return self._containers.archives.writing(container)

    def writing_own(self, container: Container) -> AbstractAsyncContextManager[Root]:
        """The same without what is mounted into it; it must not run."""
        return self._containers.archives.writing_own(container)

    async def _remove(self, container: Container) -> None:
        with trio.move_on_after(REMOVAL_LIMIT_S, shield=True), suppress(EngineError):
            await self._containers.remove(container, force=True, volumes=True)


def _environment(config: RunConfig, more: Mapping[str, str]) -> list[str]:
    """The image's variables go before those of the build."""
    own = list(config.env or ())
    names = {entry.partition("=")[0] for entry in own}
    return [*own, *(f"{name}={value}" for name, value in more.items() if name not in names)]
