"""What an agent needs of the rest of the engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from services.cluster.dispatcher.values import NetworkView, SessionFacts
from services.cluster.model.objects import NetworkKey, NodeDescription
from services.containers.container import Container, ExitWaiter
from services.containers.create import Created
from services.containers.definitions import CreateRequest
from services.containers.logs import LogReader
from services.containers.table import ContainerTable
from services.errors import EngineError
from services.images import Image
from services.networks import Network
from services.networks.sandboxes.attaching import Attacher
from services.registry import PullRequest
from services.registry.progress import Line


class Engine(Protocol):
    """The containers service; its `Containers` is one."""

    table: ContainerTable

    async def create(self, request: CreateRequest) -> Created:
        """Make a container."""

    async def start(self, container: Container) -> None:
        """Start it; return once its process runs."""

    async def stop(
        self, container: Container, *, signal: str = "", grace_s: float | None = None
    ) -> None:
        """Signal, wait the grace, kill. NotModified if it does not run."""

    async def remove(
        self, container: Container, *, force: bool = False, volumes: bool = False
    ) -> None:
        """Take it away, whether it runs or not if `force`."""

    def waiter(
        self, container: Container, condition: str
    ) -> AbstractAsyncContextManager[ExitWaiter]:
        """Waits for its end from the moment the block begins."""

    async def log_reader(self, container: Container) -> LogReader:
        """Reads its log. NotSupported if that cannot be read."""


class Images(Protocol):
    """The images that are here."""

    async def resolve(self, ref: str) -> Image:
        """Raises NotFound."""


class Board(Protocol):
    """How far a pull is."""

    def watch(self) -> AsyncIterator[list[Line]]:
        """What is new, until the pull has ended."""


class Job(Protocol):
    """A pull under way; `error` stands when it has ended and failed."""

    error: EngineError | None

    @property
    def board(self) -> Board:
        """What it tells."""


class Registries(Protocol):
    """Where images come from."""

    def pull(self, request: PullRequest) -> AbstractAsyncContextManager[Job]:
        """A pull, which others may share; leaving the block gives it up."""


class NodeNetworks(Protocol):
    """The cluster's networks on this node; `network.face` has one."""

    def show(self, views: Sequence[NetworkView], keys: Sequence[NetworkKey] | None = None) -> None:
        """This is what the node is to have; make it so. Does not block.

        `keys` are for encrypted networks; None: no manager has told them since the engine began.

        Raises:
            EngineError: what is shown makes no sense.
        """

    async def wait_ready(self, network_ids: Collection[str]) -> None:
        """Block until containers can be put into these networks.

        Raises:
            EngineError: they cannot be made on this node.
        """

    async def wait_unused(self, container_id: str, *, quiet_s: float, limit_s: float) -> None:
        """Block until nobody has begun a connection to a container for `quiet_s`; not for longer
        than `limit_s`.

        Raises:
            EngineError: it cannot be told.
        """


class Places(Protocol):
    """Where containers get their places in networks; `Sandboxes` is one."""

    def attach_by(self, attacher: Attacher | None) -> None:
        """Have somebody ask the managers for places in networks that span nodes."""


class LocalNetworks(Protocol):
    """The networks that this node knows."""

    def find(self, ref: str) -> Network:
        """By id, name or a beginning of its id. Raises NotFound and InvalidParameter."""


class FactsListener(Protocol):
    """Somebody who wants to know what the managers say of the cluster."""

    def __call__(self, facts: SessionFacts, /) -> None:
        """Called with all of it whenever a part has changed. Does not block."""


class Describer(Protocol):
    """Says what the node is."""

    def __call__(self) -> NodeDescription:
        """As it is at this moment. Does not block."""
