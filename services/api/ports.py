"""What the routes need of the engine's services, no wider."""

# The contracts stand at the classes that carry them out: services.images, services.containerd,
# services.containers, services.registry.
# ruff: noqa: D102

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from services.errors import EngineError
from services.images import (
    Deleted,
    Image,
    ImageFilters,
    OciDescriptor,
    Platform,
    Reference,
    Untagged,
)
from services.images.attestations import Attestation
from services.images.load import LoadSink
from services.images.ports import Body
from services.images.prune import PrunedImages, PruneFilters
from services.measures import Durations
from services.registry.credentials import Credentials
from services.registry.progress import Board
from services.registry.requests import (
    Distribution,
    Login,
    PullRequest,
    PushRequest,
    SearchRequest,
    SearchResult,
)


class ImageLister(Protocol):
    """The images that are here."""

    async def list(self, filters: ImageFilters = ...) -> Sequence[Image]: ...


class ImageLoader(Protocol):
    """`docker load`."""

    async def load(
        self, body: Body, report: LoadSink, platforms: Sequence[Platform] = ()
    ) -> None: ...


class ImageStore(ImageLister, ImageLoader, Protocol):
    """All that is done with images that are here."""

    @property
    def actions(self) -> Durations: ...
    async def inspect(self, ref: str, platform: Platform | None = None) -> Image: ...
    async def repositories(self, descriptor: OciDescriptor) -> Sequence[str]: ...
    def save(
        self, names: Sequence[str], platforms: Sequence[Platform] = ()
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]: ...
    async def tag(self, ref: str, name: str) -> Image: ...
    async def prune(self, wanted: PruneFilters) -> PrunedImages: ...
    async def attestations(
        self,
        ref: str,
        platform: Platform | None,
        *,
        predicate_types: Sequence[str] = ...,
        with_statements: bool = ...,
    ) -> Sequence[Attestation]: ...
    async def remove(self, ref: str, *, force: bool = False) -> Sequence[Untagged | Deleted]: ...
    async def remove_platforms(
        self, ref: str, platforms: Sequence[Platform], *, force: bool = False
    ) -> Sequence[Deleted]: ...


class Usage(Protocol):
    """What a snapshot takes by itself, without its parents."""

    @property
    def size_bytes(self) -> int: ...


class SnapshotSizes(Protocol):
    """containerd's snapshots, as far as their sizes go. NotFound if there is no such one."""

    async def usage(self, key: str) -> Usage: ...


class ContainerCounts(Protocol):
    """How many containers are "running", "paused" and "stopped", by these words."""

    def count_states(self) -> Mapping[str, int]: ...


class Transfer(Protocol):
    """A pull or a push under way; `error` stands once the board is closed and it failed."""

    @property
    def board(self) -> Board: ...
    @property
    def error(self) -> EngineError | None: ...


class RegistryClient(Protocol):
    """What is done with registries."""

    def pull(self, request: PullRequest) -> AbstractAsyncContextManager[Transfer]: ...
    def push(self, request: PushRequest) -> AbstractAsyncContextManager[Transfer]: ...
    async def login(self, credentials: Credentials) -> Login: ...
    async def inspect(self, reference: Reference, credentials: Credentials) -> Distribution: ...
    async def search(self, request: SearchRequest) -> Sequence[SearchResult]: ...
