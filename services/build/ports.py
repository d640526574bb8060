"""What builds need of other parts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from services.containers import Attached, Container, Created, CreateRequest, ExitWaiter
from services.containers.archives.changes import Trees
from services.containers.archives.root import Root
from services.images import Image, Platform, Reference
from services.images.compose import Recipe
from services.images.steps import BuildStep

Told = AsyncIterator[Mapping[str, Any]]


class StepStore(Protocol):
    """The steps that are kept."""

    async def make(self, recipe: Recipe, key: str, description: str) -> Image:
        """Make an image that is a step of a build."""

    async def find(self, key: str) -> Image | None:
        """The image that a step ended in, if it is kept."""

    async def show(self, image: Image, references: Sequence[Reference]) -> None:
        """Let users see an image that a build has ended in."""

    async def list(self) -> Sequence[BuildStep]:
        """All steps, the one that was used last first."""

    async def drop(self, key: str, *, collect: bool) -> None:
        """Forget one."""

    async def replace(self, key: str, newer_key: str) -> None:
        """Let `key` mean what the step of another key ended in."""


class ImageStore(Protocol):
    """The images service."""

    async def resolve(self, ref: str) -> Image:
        """The image that a text names."""

    async def inspect(self, ref: str, platform: Platform | None = None) -> Image:
        """The same, as one platform has it."""

    @property
    def steps(self) -> StepStore:
        """The steps that are kept."""


class Archives(Protocol):
    """Containers' files."""

    def reading(self, container: Container) -> AbstractAsyncContextManager[Root]:
        """Its files, for reading."""

    def writing(self, container: Container) -> AbstractAsyncContextManager[Root]:
        """Its files, to be changed."""

    def writing_own(self, container: Container) -> AbstractAsyncContextManager[Root]:
        """Its own files, without what is mounted into it, to be changed; it must not run."""

    def compared(self, container: Container) -> AbstractAsyncContextManager[Trees]:
        """The views of its files that tell what it has changed."""

    async def has_changes(self, trees: Trees) -> bool:
        """Whether it has changed any."""


class Containers(Protocol):
    """The containers service."""

    @property
    def table(self) -> Iterable[Container]:
        """All of them."""

    @property
    def archives(self) -> Archives:
        """Their files."""

    async def create(self, request: CreateRequest) -> Created:
        """Make a container."""

    async def start(self, container: Container) -> None:
        """Start it."""

    async def remove(
        self, container: Container, *, force: bool = False, volumes: bool = False
    ) -> None:
        """Remove it."""

    def attach(
        self, container: Container, *, stdin: bool, stdout: bool, stderr: bool
    ) -> AbstractAsyncContextManager[Attached]:
        """Join its streams."""

    def waiter(
        self, container: Container, condition: str
    ) -> AbstractAsyncContextManager[ExitWaiter]:
        """Registered from the moment the block begins."""


class Puller(Protocol):
    """Fetches base images."""

    def pull(
        self, reference: Reference, platform: Platform | None
    ) -> AbstractAsyncContextManager[Told]:
        """The messages of a pull, which has succeeded when they end. Raises EngineError."""
