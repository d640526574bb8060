"""The story of a daemon's life: from its settings to its exit status. The tree is `tree.py`'s."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import trio
from loguru import logger

from services.errors import EngineError
from services.system import read_host_facts

from .configure import load
from .identity import load_or_create_engine_id
from .in_force import Current, prepare
from .logs import LogSink
from .notify import Notifier
from .options import Value
from .otp import (
    Latch,
    Outcome,
    StartFailed,
    Supervisor,
)
from .parts import Parts, build_parts
from .pidfile import PidFile, PidFileError
from .reports import TreeReports
from .settings import ConfigError, Settings
from .signals import SignalTrap
from .tree import root_tree as root_tree

log = logger.bind(service="daemon")


class Daemon:
    """One run of the engine: from its settings to its exit status."""

    def __init__(self, settings: Settings, given: Mapping[str, Value]) -> None:
        self._settings = settings  # of the start; those in force are `Current`'s
        self._given = given
        self._sink = LogSink(
            level=settings.log.effective_level, format=settings.log.format, raw=settings.log.raw
        )
        self._notifier = Notifier.from_environment(os.environ)
        self._is_ending = False

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
        current = Current(await trio.to_thread.run_sync(prepare, settings, facts))
        return build_parts(
            current,
            facts=facts,
            engine_id=engine_id,
            read_settings=partial(load, self._given, os.environ),
            sink=self._sink,
            notifier=self._notifier,
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
        with suppress(EngineError):  # the reloader has told of it wherever that helps
            await parts.reloader.reload()


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
