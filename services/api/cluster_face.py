"""What the routes need of swarm mode, and the answers of a node that is in no swarm.

Nothing of services.cluster is imported here: an engine that is in no swarm never loads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, Protocol

from services.errors import NotSupported, Unavailable

if TYPE_CHECKING:
    from services.cluster.control.control import Control
    from services.cluster.info import SwarmInfo
    from services.cluster.requests import InitRequest, JoinRequest

NO_MANAGER = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect '
    "this node to swarm and try again."
)
NOT_IN_A_SWARM = "This node is not part of a swarm"


class ClusterFace(Protocol):
    """This node's part in a swarm. Everything may be called at any time."""

    @property
    def is_active(self) -> bool:
        """Whether the node is part of a swarm, be it locked or out of reach."""

    @property
    def role_word(self) -> str:
        """For the Swarm header of a ping: "inactive", "pending", "error", "locked",
        "active/manager" or "active/worker"."""

    def control(self) -> Control:
        """What a manager can do.

        Raises:
            NotManager: this node is none, with dockerd's sentence about why (503).
        """

    def info(self) -> SwarmInfo | None:
        """For GET /info. None: in no swarm, and never was since the daemon's start."""

    async def init(self, request: InitRequest) -> str:
        """Begin a swarm; this node's id in it. `request` has been checked."""

    async def join(self, request: JoinRequest) -> None:
        """Become part of a swarm. `request` has been checked."""

    async def leave(self, *, force: bool) -> None:
        """Be part of it no more: tasks end, what the node knew of the swarm goes."""

    async def unlock(self, key: str) -> None:
        """Begin to be a manager again.

        Raises:
            Conflict: it is not locked.
            Unauthorized: the key is another.
        """


class OutsideSwarm:
    """A face that can neither begin nor join a swarm."""

    is_active = False
    role_word = "inactive"

    def control(self) -> NoReturn:
        """Raises Unavailable, always."""
        raise Unavailable(NO_MANAGER)

    def info(self) -> SwarmInfo | None:
        """None: it is in no swarm."""
        return None

    async def init(self, request: InitRequest) -> str:  # noqa: ARG002
        """Raises NotSupported, always."""
        raise NotSupported("this engine has no swarm mode")

    async def join(self, request: JoinRequest) -> None:  # noqa: ARG002
        """Raises NotSupported, always."""
        raise NotSupported("this engine has no swarm mode")

    async def leave(self, *, force: bool) -> None:  # noqa: ARG002
        """Raises Unavailable, always."""
        raise Unavailable(NOT_IN_A_SWARM)

    async def unlock(self, key: str) -> None:  # noqa: ARG002
        """Raises Unavailable, always."""
        raise Unavailable(NO_MANAGER)
