"""The root tree: which part stands where.

    root                    rest_for_one
    ├─ reports              one_for_one: log, history (of what the tree reports), lag (of the
    │                       loop), waits (of tasks)
    ├─ listeners            sockets opened once and kept
    ├─ containerd           one_for_one: process (without --containerd), connection
    ├─ store                one_for_one: database
    ├─ events               one_for_one: bus, stream
    ├─ engine               one_for_one: images, registry, volumes, firewall (helper), proxy,
    │  │                    networks, dns, apparmor, keeper (of pipes), packer, shipping and
    │  │                    log-budget (of logs), oom, groups (of containers), containers,
    │  │                    builder
    │  └─ containers        rest_for_one: running (one supervisor a container), restore,
    │                       reconcile
    ├─ faces                one_for_one: observer, metrics, cluster (node), routes,
    │                       api (one server a listener)
    └─ reloads              carries out reloads of the configuration, one at a time

Stopping takes the reverse of this order: the API drains, containers stop, then what they stood on.
"""

from __future__ import annotations

from functools import partial

import trio

from services.networks.firewall.firewall import Firewall

from .faces.api_servers import ApiServers
from .otp import (
    INFINITY,
    ChildSpec,
    ChildType,
    Intensity,
    Outcome,
    Restart,
    Strategy,
    Supervisor,
)
from .parts import Parts
from .patience import OFTEN, PATIENT
from .reports import ReportLog, TreeReports


def root_tree(parts: Parts, reports: TreeReports, *, serve_api_wait: Outcome[None]) -> Supervisor:
    """The supervision tree of the whole daemon."""
    faces = _faces_tree(parts, serve_api_wait)
    root = Supervisor(
        [
            _supervisor(_reports_tree(parts, reports)),
            ChildSpec(id="listeners", start=parts.listeners.run),
            _supervisor(_containerd_tree(parts)),
            _supervisor(_store_tree(parts)),
            _supervisor(_events_tree(parts)),
            _supervisor(_engine_tree(parts)),
            _supervisor(faces),
            ChildSpec(id="reloads", start=parts.reloader.run),
        ],
        name="root",
        strategy=Strategy.REST_FOR_ONE,
        intensity=Intensity(max_restarts=3, window_s=60.0),
    )
    reports.bind(root)
    parts.restarts.bind({"root/faces": faces})
    return root


def _reports_tree(parts: Parts, reports: TreeReports) -> Supervisor:
    observer = parts.observer
    return Supervisor(
        [
            ChildSpec(id="log", start=ReportLog(reports).run),
            ChildSpec(id="history", start=observer.history.run),
            ChildSpec(id="lag", start=observer.lag.run),
            ChildSpec(id="waits", start=observer.waits.run),
        ],
        name="reports",
        intensity=OFTEN,
    )


def _containerd_tree(parts: Parts) -> Supervisor:
    children = [ChildSpec(id="connection", start=parts.ground.containerd.connection.run)]
    if parts.ground.containerd_process is not None:
        # Our own end must not be the end of its shims, so it gets its time.
        process = ChildSpec(
            id="process",
            start=parts.ground.containerd_process.run,
            shutdown_s=25.0,
            backoff=PATIENT,
        )
        children.insert(0, process)
    return Supervisor(children, name="containerd", intensity=OFTEN)


def _store_tree(parts: Parts) -> Supervisor:
    """Those who stand on it wait at its gate while it is opened again."""
    return Supervisor(
        [ChildSpec(id="database", start=parts.ground.store.run, shutdown_s=15.0, backoff=PATIENT)],
        name="store",
        intensity=OFTEN,
    )


def _events_tree(parts: Parts) -> Supervisor:
    return Supervisor(
        [
            ChildSpec(id="bus", start=parts.ground.bus.run),
            ChildSpec(id="stream", start=parts.event_stream.run, backoff=PATIENT),
        ],
        name="events",
        intensity=OFTEN,
    )


def _engine_tree(parts: Parts) -> Supervisor:
    containers = Supervisor(
        [
            ChildSpec(
                id="running",
                start=parts.running.run,
                type=ChildType.SUPERVISOR,
                shutdown_s=INFINITY,  # it limits its end by itself
            ),
            ChildSpec(id="restore", start=parts.restorer.run, backoff=PATIENT),
            ChildSpec(id="reconcile", start=parts.reconciler.run, backoff=PATIENT),
        ],
        name="containers",
        strategy=Strategy.REST_FOR_ONE,
        intensity=OFTEN,
    )
    firewall, proxy = parts.ground.net.firewall, parts.ground.net.proxy
    return Supervisor(
        [
            ChildSpec(id="images", start=parts.ground.images.run, backoff=PATIENT),
            ChildSpec(id="registry", start=parts.ground.registry.run, type=ChildType.SUPERVISOR),
            ChildSpec(id="volumes", start=parts.ground.volumes.run, backoff=PATIENT),
            *([_supervisor(firewall_tree(firewall))] if firewall else []),
            *([ChildSpec(id="proxy", start=proxy.run, backoff=PATIENT)] if proxy else []),
            ChildSpec(id="networks", start=parts.ground.net.networks.run, backoff=PATIENT),
            ChildSpec(id="dns", start=parts.ground.dns.run, backoff=PATIENT),
            # Before containers are started again; it ends when the profile is loaded.
            ChildSpec(id="apparmor", start=parts.ground.apparmor.run, restart=Restart.TRANSIENT),
            ChildSpec(id="keeper", start=parts.containers.terminals.keeper.run, backoff=PATIENT),
            ChildSpec(id="packer", start=parts.containers.terminals.packer.run, backoff=PATIENT),
            ChildSpec(id="shipping", start=parts.containers.terminals.shipping.run),
            ChildSpec(id="log-budget", start=parts.log_budget.run, backoff=PATIENT),
            ChildSpec(id="oom", start=parts.oom_kills.run),
            ChildSpec(id="groups", start=parts.groups.run),
            _supervisor(containers),
            ChildSpec(id="builder", start=parts.builder.run, backoff=PATIENT),
        ],
        name="engine",
        intensity=OFTEN,
    )


def firewall_tree(firewall: Firewall) -> Supervisor:
    """Of its own: networks need it while they start, and a supervisor that starts a child restarts
    no other one. A helper that is lost at that moment delays the engine's start, and no more."""
    helper = ChildSpec(id="helper", start=firewall.run, backoff=PATIENT)
    return Supervisor([helper], name="firewall", intensity=OFTEN)


def _faces_tree(parts: Parts, serve_api_wait: Outcome[None]) -> Supervisor:
    children = [
        # Without an address these two end at once.
        ChildSpec(id="observer", start=parts.observer_face.serve),
        ChildSpec(id="metrics", start=parts.metrics.serve),
        _supervisor(_cluster_tree(parts)),
        # It ends when the routes are there; servers accept meanwhile.
        ChildSpec(id="routes", start=parts.routes.run, restart=Restart.TRANSIENT),
        ChildSpec(
            id="api",
            start=partial(_serve_api, parts.api, serve_api_wait),
            type=ChildType.SUPERVISOR,
            shutdown_s=INFINITY,
        ),
    ]
    return Supervisor(
        children,
        name="faces",
        intensity=Intensity(max_restarts=3, window_s=60.0),
    )


def _cluster_tree(parts: Parts) -> Supervisor:
    """Of its own, so that a node that cannot be part of its swarm takes no other face along."""
    # Until there is a swarm it waits, and nothing of it is imported.
    node = ChildSpec(id="node", start=parts.cluster.run, backoff=PATIENT, shutdown_s=40.0)
    return Supervisor([node], name="cluster", intensity=OFTEN)


async def _serve_api(
    api: ApiServers,
    serve_api_wait: Outcome[None],
    *,
    task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED,
) -> None:
    """The API's supervisor; that it gave up is what the daemon's exit status tells."""
    try:
        await api.run(task_status=task_status)
    except Exception as error:
        serve_api_wait.set_error(error)
        raise


def _supervisor(supervisor: Supervisor) -> ChildSpec:
    return ChildSpec(
        id=supervisor.name,
        start=supervisor.run,
        restart=Restart.PERMANENT,
        type=ChildType.SUPERVISOR,
        shutdown_s=INFINITY,
    )
