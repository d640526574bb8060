"""containerd as the engine's parts see it: one connection and a client for each service in use."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from .blobs import Blobs
from .connection import Connection, lease_on_calls
from .containers import Containers
from .content import Content
from .content_root import ContentRoot
from .diff import Diff
from .events import Events
from .images import Images
from .ingest_files import IngestFiles
from .introspection import Introspection
from .kept_exits import KeptExits
from .leases import Leases
from .namespaces import Namespaces
from .snapshots import Snapshots
from .tasks import Tasks
from .version import Versions


class Containerd:
    """Lives as long as the engine, across restarts of containerd, the connection and its task.

    `connection.run` is a supervised child; calls wait at its readiness gate.
    """

    def __init__(
        self,
        address: Path,
        namespace: str,
        *,
        snapshotter: str = "overlayfs",
        kept_exits: KeptExits | None = None,
    ) -> None:
        """`kept_exits`: what a `Process` of ours heard of shims before containerd forgot them."""
        self.address = address
        self.namespace = namespace
        self.connection = Connection(address, namespace)
        self.version = Versions(self.connection)
        self.introspection = Introspection(self.connection)
        self.namespaces = Namespaces(self.connection, namespace)
        self.containers = Containers(self.connection)
        kept_exits = kept_exits if kept_exits is not None else KeptExits()
        self.tasks = Tasks(self.connection, namespace, kept_exits)
        root = ContentRoot(self.introspection)
        self.content = Content(self.connection, root=root, files=IngestFiles(namespace))
        self.blobs = Blobs(self.content, root)
        self.images = Images(self.connection)
        self.leases = Leases(self.connection)
        self.snapshots = Snapshots(self.connection, snapshotter)
        self.diff = Diff(self.connection)
        self.events = Events(self.connection)

    def lease(self, id: str) -> AbstractContextManager[None]:
        """Put what calls within the block create under lease `id`; tasks started there too."""
        return lease_on_calls(id)
