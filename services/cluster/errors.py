"""What a node answers that is not the manager it would have to be; texts are dockerd's."""

from __future__ import annotations

from typing import Final

from services.errors import Unavailable

NOT_IN_A_SWARM: Final = "This node is not part of a swarm"
ALREADY_IN_A_SWARM: Final = (
    'This node is already part of a swarm. Use "docker swarm leave" to leave this swarm and join '
    "another one."
)
NO_MANAGER: Final = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect '
    "this node to swarm and try again."
)
MANAGER_NOT_READY: Final = (
    "This node is not a swarm manager. Manager is being prepared or has trouble connecting to the "
    "cluster."
)
IS_A_WORKER: Final = (
    "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state. "
    "Please run this command on a manager node or promote the current node to a manager."
)
LOCKED: Final = (
    "Swarm is encrypted and needs to be unlocked before it can be used. Please use "
    '"docker swarm unlock" to unlock it.'
)
JOIN_TIMEOUT: Final = (
    "Timeout was reached before node joined. The attempt to join the swarm will continue in the "
    'background. Use the "docker info" command to see the current swarm status of your node.'
)
LEAVE_LOCKED: Final = (
    "Swarm is encrypted and locked. Please unlock it first or use `--force` to ignore this message."
)
NOT_LOCKED: Final = "swarm is not locked"


class NotManager(Unavailable):
    """This node cannot look at the cluster, or change it. 503, as dockerd's."""
