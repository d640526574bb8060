"""All that clients ask of a cluster, in one hand: what a manager's routes speak to."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import trio

from services.cluster.control.changes import CATCH_UP_S
from services.cluster.control.documents import CONFIGS, SECRETS, Documents
from services.cluster.control.networks import ClusterNetworks
from services.cluster.control.nodes import Nodes
from services.cluster.control.ports import Parts, TaskLogs
from services.cluster.control.services import Services
from services.cluster.control.swarm import Swarm
from services.cluster.control.tasks import Tasks
from services.cluster.model.objects import Config, Secret
from services.errors import Unavailable


class Control:
    """Made once by each manager; holds nothing but its parts."""

    def __init__(self, parts: Parts) -> None:
        store = self._store = parts.store
        self.swarm: Final = Swarm(store)
        self.nodes: Final = Nodes(store, parts.leadership)
        self.services: Final = Services(store, parts.images, parts.local_networks)
        self.tasks: Final = Tasks(store)
        self.networks: Final = ClusterNetworks(store)
        self.secrets: Final = Documents[Secret](store, SECRETS)
        self.configs: Final = Documents[Config](store, CONFIGS)
        self.logs: Final[TaskLogs] = parts.logs

    @property
    def age_s(self) -> float:
        """How old what is read here may be, in seconds: while there is no quorum it is not 0."""
        return self._store.age_s

    async def catch_up(self) -> None:
        """Block until this manager has what the others have written, CATCH_UP_S at most."""
        with trio.move_on_after(CATCH_UP_S), suppress(Unavailable):
            await self._store.catch_up()
