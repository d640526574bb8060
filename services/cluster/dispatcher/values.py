"""What a manager and a node's agent say to each other, as values.

Messages of a session come in one order: the facts first, then a complete set of assignments, then
changes of either and requests for logs, as they happen.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from services.cluster.model.objects import (
    ClusterNetwork,
    Config,
    NetworkKey,
    Node,
    Secret,
    Task,
    TaskStatus,
)
from services.cluster.model.specs import PortConfig
from services.cluster.model.task_spec import LogDriver


class Told(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A value that crosses between nodes; what is unset is left out."""


class SessionFacts(Told, frozen=True, kw_only=True):
    """What a node knows of its cluster. It comes anew, whole, whenever a part of it changes.

    `managers` are host:port. `root_certificates` is PEM: two while the authority is replaced.
    `must_renew`: the node's certificate is of the wrong role, or of a root that is on its way out.
    """

    session_id: str
    cluster_id: str
    node: Node
    managers: tuple[str, ...] = ()
    heartbeat_period_s: float = 5.0
    root_certificates: str = ""
    must_renew: bool = False
    data_path_port: int = 4789
    default_log_driver: LogDriver | None = None


class NetworkPeer(Told, frozen=True, kw_only=True):
    """A node with addresses in a network. `addresses` are bare, the node's own one among them."""

    node_id: str
    data_path_addr: str
    addresses: tuple[str, ...] = ()


class Backend(Told, frozen=True, kw_only=True):
    """A task that runs, and is to run: connections may go to it. `address` is bare."""

    task_id: str
    name: str
    address: str
    node_id: str
    aliases: tuple[str, ...] = ()


class ServiceView(Told, frozen=True, kw_only=True):
    """A service as one network has it. `vip` is bare, "" for one that answers with its tasks.

    `ports` are those published in ingress mode; only the view of the ingress network has them.
    """

    id: str
    name: str
    aliases: tuple[str, ...] = ()
    vip: str = ""
    ports: tuple[PortConfig, ...] = ()
    backends: tuple[Backend, ...] = ()


class NetworkView(Told, frozen=True, kw_only=True):
    """All that a node must know of one network. The node itself is among the peers.

    `containers` are tasks that stand for containers started by hand: names without a service.
    The view is the same for each node: a node's own address in it is
    `network.balancer_addrs[node_id]`.
    """

    network: ClusterNetwork
    peers: tuple[NetworkPeer, ...] = ()
    services: tuple[ServiceView, ...] = ()
    containers: tuple[Backend, ...] = ()


class Assignments(Told, frozen=True, kw_only=True):
    """What a node has to do, and all that it needs for it; nothing that others need.

    `is_complete`: what is not in it is gone. Otherwise it changes what was told before: what is put
    replaces its namesake, what is removed goes. A task that is removed is to be stopped, and its
    container taken away. `network_keys`, for nodes in encrypted networks only, are all there are;
    None: those that were told last.
    """

    is_complete: bool = False
    tasks: tuple[Task, ...] = ()
    secrets: tuple[Secret, ...] = ()
    configs: tuple[Config, ...] = ()
    networks: tuple[NetworkView, ...] = ()
    removed_tasks: tuple[str, ...] = ()
    removed_secrets: tuple[str, ...] = ()
    removed_configs: tuple[str, ...] = ()
    removed_networks: tuple[str, ...] = ()
    network_keys: tuple[NetworkKey, ...] | None = None


class LogSelector(Told, frozen=True, kw_only=True):
    """Tasks by id, and all tasks of services, those that come later too."""

    service_ids: tuple[str, ...] = ()
    task_ids: tuple[str, ...] = ()


class LogOptions(Told, frozen=True, kw_only=True):
    """As of `docker logs`. `tail` None is everything; `since` leaves out what is older."""

    follow: bool = False
    tail: int | None = None
    since: datetime | None = None
    stdout: bool = True
    stderr: bool = True


class LogRequest(Told, frozen=True, kw_only=True):
    """The node is to send its tasks' logs until it is told to stop, or has sent them all."""

    subscription_id: str
    selector: LogSelector
    options: LogOptions = LogOptions()


class LogStop(Told, frozen=True, kw_only=True):
    """Nobody reads this subscription any more."""

    subscription_id: str


class LogMessage(Told, frozen=True, kw_only=True):
    """One piece of a container's output, as it was written. `stream` is stdout or stderr."""

    task_id: str
    node_id: str
    service_id: str
    timestamp_ns: int
    stream: str
    data: bytes
    details: dict[str, str] = {}


class AttachmentWish(Told, frozen=True, kw_only=True):
    """What a container that was started by hand wants: a place in one network.

    `network` is a name, an id or a beginning of one. `names` are what others there are to call it;
    `addresses`, bare, are what its user asked for.
    """

    network: str
    container_id: str
    names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    driver_opts: dict[str, str] = {}


class TaskUpdate(Told, frozen=True, kw_only=True):
    """What a node has seen of a task."""

    task_id: str
    status: TaskStatus


SessionMessage = SessionFacts | Assignments | LogRequest | LogStop
