"""The root tree: which part stands where, and the story of a daemon's life around it.

    root                    rest_for_one
    ├─ reports              the tree's reports, in the log and counted
    ├─ listeners            sockets opened once and kept
    ├─ containerd           one_for_one: process (without --containerd), connection
    ├─ store                one_for_one: database
    ├─ events               one_for_one: bus, stream
    ├─ engine               one_for_one: images, registry, volumes, networks, apparmor, keeper (of
    │  │                    pipes), packer and shipping (of logs), oom, containers, builder
    │  └─ containers        rest_for_one: running (one supervisor a container), restore,
    │                       reconcile
    └─ faces                one_for_one: metrics, routes, api (one server a listener)

Stopping takes the reverse of this order: the API drains, containers stop, then what they stood on.
"""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import trio
from loguru import logger

from services.events import Event
from services.system import read_host_facts

from .configure import reload
from .identity import load_or_create_engine_id
from .logs import LogSink
from .notify import Notifier
from .options import Value
from .otp import (
    INFINITY,
    Backoff,
    ChildSpec,
    ChildType,
    Intensity,
    Latch,
    Outcome,
    Restart,
    StartFailed,
    Strategy,
    Supervisor,
)
from .parts import Parts, build_parts
from .pidfile import PidFile, PidFileError
from .reports import ReportLog, TreeReports
from .settings import ConfigError, Settings
from .signals import SignalTrap

log = logger.bind(service="daemon")

# A part that something outside keeps from working is tried again and again, more slowly each time.
PATIENT = Backoff(first_s=0.1, cap_s=5.0)
OFTEN = Intensity(max_restarts=20, window_s=30.0)


def root_tree(parts: Parts, reports: TreeReports, *, serve_api_wait: Outcome[None]) -> Supervisor:
    """The supervision tree of the whole daemon."""
    root = Supervisor(
        [
            _supervisor(_reports_tree(parts, reports)),
            ChildSpec(id="listeners", start=parts.listeners.run),
            _supervisor(_containerd_tree(parts)),
            _supervisor(_store_tree(parts)),
            _supervisor(_events_tree(parts)),
            _supervisor(_engine_tree(parts)),
            _supervisor(_faces_tree(parts, serve_api_wait)),
        ],
        name="root",
        strategy=Strategy.REST_FOR_ONE,
        intensity=Intensity(max_restarts=3, window_s=60.0),
    )
    reports.bind(root)
    return root


def _reports_tree(parts: Parts, reports: TreeReports) -> Supervisor:
    children = [ChildSpec(id="log", start=ReportLog(reports).run)]
    if parts.metrics is not None:
        children.append(ChildSpec(id="counts", start=parts.metrics.supervision.run))
    return Supervisor(children, name="reports", intensity=OFTEN)


def _containerd_tree(parts: Parts) -> Supervisor:
    children = [ChildSpec(id="connection", start=parts.containerd.connection.run)]
    if parts.containerd_process is not None:
        # Our own end must not be the end of its shims, so it gets its time.
        process = ChildSpec(
            id="process", start=parts.containerd_process.run, shutdown_s=25.0, backoff=PATIENT
        )
        children.insert(0, process)
    return Supervisor(children, name="containerd", intensity=OFTEN)


def _store_tree(parts: Parts) -> Supervisor:
    """Those who stand on it wait at its gate while it is opened again."""
    return Supervisor(
        [ChildSpec(id="database", start=parts.store.run, shutdown_s=15.0, backoff=PATIENT)],
        name="store",
        intensity=OFTEN,
    )


def _events_tree(parts: Parts) -> Supervisor:
    return Supervisor(
        [
            ChildSpec(id="bus", start=parts.bus.run),
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
    firewall = parts.firewall
    return Supervisor(
        [
            ChildSpec(id="images", start=parts.images.run, backoff=PATIENT),
            ChildSpec(id="registry", start=parts.registry.run, type=ChildType.SUPERVISOR),
            ChildSpec(id="volumes", start=parts.volumes.run, backoff=PATIENT),
            *([ChildSpec(id="firewall", start=firewall.run, backoff=PATIENT)] if firewall else []),
            ChildSpec(id="networks", start=parts.networks.run, backoff=PATIENT),
            # Before containers are started again; it ends when the profile is loaded.
            ChildSpec(id="apparmor", start=parts.apparmor.run, restart=Restart.TRANSIENT),
            ChildSpec(id="keeper", start=parts.containers.terminals.keeper.run, backoff=PATIENT),
            ChildSpec(id="packer", start=parts.containers.terminals.packer.run, backoff=PATIENT),
            # It ends after the containers, so that what they say last is sent too.
            ChildSpec(id="shipping", start=parts.containers.terminals.shipping.run),
            ChildSpec(id="oom", start=parts.oom_kills.run),
            _supervisor(containers),
            ChildSpec(id="builder", start=parts.builder.run, backoff=PATIENT),
        ],
        name="engine",
        intensity=OFTEN,
    )


def _faces_tree(parts: Parts, serve_api_wait: Outcome[None]) -> Supervisor:
    servers = [
        ChildSpec(id=f"server-{number}", start=server.run, shutdown_s=15.0)
        for number, server in enumerate(parts.api_servers)
    ]
    api = Supervisor(servers, name="api", intensity=OFTEN)
    children = [
        # It ends when the routes are there; servers accept meanwhile.
        ChildSpec(id="routes", start=parts.routes.run, restart=Restart.TRANSIENT),
        ChildSpec(
            id="api",
            start=partial(_serve_api, api, serve_api_wait),
            type=ChildType.SUPERVISOR,
            shutdown_s=INFINITY,
        ),
    ]
    if parts.metrics is not None:
        children.insert(0, ChildSpec(id="metrics", start=parts.metrics.server.run))
    return Supervisor(
        children,
        name="faces",
        intensity=Intensity(max_restarts=3, window_s=60.0),
    )


async def _serve_api(
    api: Supervisor,
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


class Daemon:
    """One run of the engine: from its settings to its exit status."""

    def __init__(self, settings: Settings, given: Mapping[str, Value]) -> None:
        self._settings = settings
        self._given = given
        self._sink = LogSink(
            level=settings.log.effective_level, format=settings.log.format, raw=settings.log.raw
        )
        self._notifier = Notifier.from_environment(os.environ)
        self._is_ending = False

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._settings

    async def run(self) -> int:
        """Start, serve, drain; the answer is the exit status."""
        reports = TreeReports()
        parts = await self._build(reports)
        stopc = Latch()
        serve_api_wait: Outcome[None] = Outcome()
        root = root_tree(parts, reports, serve_api_wait=serve_api_wait)
        trap = SignalTrap(
            drain=partial(self._drain, root),
            reload=partial(self._reload, parts),
            ended=stopc,
            stacks_folder=self._settings.exec_root,
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(trap.run)
            ready = _Ready(partial(self._tell_ready, nursery))
            nursery.start_soon(self._supervise, root, ready, serve_api_wait)
            status = await _status_of(serve_api_wait)
            stopc.set()
            nursery.cancel_scope.cancel()
        log.info("daemon ended", status=status)
        return status

    async def _supervise(
        self, root: Supervisor, ready: trio.TaskStatus[object], serve_api_wait: Outcome[None]
    ) -> None:
        """Run the tree; its end, in good order or not, is the daemon's."""
        try:
            await root.run(task_status=ready)
            serve_api_wait.set(None)
        except StartFailed as error:
            log.error("start failed", error=str(_root_cause(error)))
            serve_api_wait.set_error(error)
        except Exception as error:
            log.opt(exception=error).error("the tree ended")
            serve_api_wait.set_error(error)

    def _tell_ready(self, nursery: trio.Nursery) -> None:
        log.info("daemon ready", pid=os.getpid())
        self._notifier.ready("serving")
        nursery.start_soon(self._notifier.run)

    async def _build(self, reports: TreeReports) -> Parts:
        settings = self._settings
        facts = await trio.to_thread.run_sync(read_host_facts)
        network = settings.network
        if network.ip_forward and network.bridge != "none":  # done with the bridge, at the start
            facts = dataclasses.replace(facts, ipv4_forwarding=True)
        engine_id = load_or_create_engine_id(
            settings.data_root, legacy_key=settings.config_file.parent / "key.json"
        )
        return build_parts(
            settings,
            facts=facts,
            engine_id=engine_id,
            current_settings=lambda: self._settings,
            reports=reports,
            environment=os.environ,
            is_ending=lambda: self._is_ending,
        )

    def _drain(self, root: Supervisor) -> None:
        self._is_ending = True
        self._notifier.stopping("draining")
        log.info("draining")
        root.stop()

    async def _reload(self, parts: Parts) -> None:
        self._notifier.reloading()
        try:
            read = partial(reload, self._settings, self._given, os.environ)
            settings, changes = await trio.to_thread.run_sync(read)
            self._settings = settings
            self._sink.set_level(settings.log.effective_level)
            for name in sorted(changes.needs_restart):
                log.warning("setting needs a restart of the daemon", setting=name)
            log.info("configuration reloaded", changed=sorted(changes.reloadable))
            await parts.bus.commit(self._reload_event(parts))
        finally:
            self._notifier.ready("serving")

    def _reload_event(self, parts: Parts) -> Event:
        """dockerd's `reload` event, with the settings that a reload may change."""
        settings, registry = self._settings, self._settings.registry
        return Event(
            type="daemon",
            action="reload",
            actor_id=parts.engine_id,
            attributes={
                "debug": str(settings.log.debug).lower(),
                "labels": json.dumps(list(settings.labels)),
                "insecure-registries": json.dumps(
                    [*map(str, registry.insecure_networks), *sorted(registry.insecure_hosts)]
                ),
                "live-restore": str(settings.live_restore).lower(),
                "max-concurrent-downloads": str(registry.max_downloads),
                "max-concurrent-uploads": str(registry.max_uploads),
                "max-download-attempts": str(registry.max_attempts),
                "name": socket.gethostname(),
                "registry-mirrors": json.dumps(list(registry.mirrors)),
                "shutdown-timeout": str(settings.shutdown_timeout_s),
            },
            time_ns=time.time_ns(),
        )


class _Ready(trio.TaskStatus[object]):
    """Calls `tell` once the tree is up; never, if it is asked to end before."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell

    def started(self, value: object = None) -> None:  # noqa: ARG002 (trio's signature)
        """The tree is up."""
        self._tell()


async def _status_of(serve_api_wait: Outcome[None]) -> int:
    try:
        await serve_api_wait.wait()
    except Exception:  # logged where it was raised
        return 1
    return 0


def _root_cause(error: BaseException) -> BaseException:
    while isinstance(error, StartFailed) and error.__cause__ is not None:
        error = error.__cause__
    return error


def run_daemon(settings: Settings, given: Mapping[str, Value]) -> int:
    """Run the engine until it has ended; its exit status. Wrong settings are one line and 1."""
    os.umask(0o022)  # dockerd's; containerd's snapshots inherit it
    try:
        with ExitStack() as held:
            _make_roots(settings)
            if settings.pidfile is not None:
                held.enter_context(PidFile(settings.pidfile))
            return trio.run(Daemon(settings, given).run)
    except (PidFileError, ConfigError, OSError) as error:
        print(f"failed to start daemon: {error}", file=sys.stderr)
        return 1


def _make_roots(settings: Settings) -> None:
    """dockerd's modes: containers' users may pass through the data-root, not list it."""
    for path, mode in ((settings.data_root, 0o711), (settings.exec_root, 0o711)):
        path.mkdir(mode=mode, parents=True, exist_ok=True)
        Path(path).chmod(mode)
    (settings.data_root / "containers").mkdir(mode=0o710, exist_ok=True)
