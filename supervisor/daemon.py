"""The story of a daemon's life: from its settings to its exit status. The tree is `tree.py`'s."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Final

import trio
from loguru import logger

from services.errors import EngineError
from services.system import read_host_facts

from .configuration.in_force import Current, prepare
from .configuration.loading import load
from .configuration.option import Value
from .configuration.settings import Settings
from .engine.identity import load_or_create_engine_id
from .otp import Latch, Outcome, StartFailed, Supervisor
from .parts import Parts, build_parts
from .process.ahead import StartedAhead
from .process.collector import Collector
from .process.logs import LogSink
from .process.notify import Notifier
from .process.signals import SignalTrap
from .reports import TreeReports
from .tree import root_tree as root_tree

log = logger.bind(service="daemon")

FAILED: Final = 1
CONTAINERS_LEFT: Final = 3  # stopped in order, but for containers that could not be stopped
REST_OF_END_S: Final = 40.0  # of the API's drain, and of containerd's end


class Daemon:
    """One run of the engine: from its settings to its exit status."""

    def __init__(self, settings: Settings, given: Mapping[str, Value], ahead: StartedAhead) -> None:
        """`ahead`: what was started while we were imported."""
        self._settings = settings  # of the start; those in force are `Current`'s
        self._given = given
        self._ahead = ahead
        self._sink = LogSink(
            level=settings.log.effective_level, format=settings.log.format, raw=settings.log.raw
        )
        self._notifier = Notifier.from_environment(os.environ)
        self._is_ending = False
        self._collector = Collector()

    async def run(self) -> int:
        """Start, serve, drain; the answer is the exit status."""
        reports = TreeReports()
        parts = await self._build(reports)
        stopc = Latch()
        serve_api_wait: Outcome[None] = Outcome()
        root = root_tree(parts, reports, serve_api_wait=serve_api_wait)
        trap = SignalTrap(
            drain=partial(self._drain, root, parts),
            leave=partial(self._leave, root, parts),
            reload=partial(self._reload, parts),
            ended=stopc,
            stacks_folder=self._settings.exec_root,
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(trap.run)
            ready = _Ready(partial(self._tell_ready, nursery))
            nursery.start_soon(self._collector.run)
            nursery.start_soon(self._supervise, root, ready, serve_api_wait)
            status = await _status_of(serve_api_wait, parts)
            stopc.set()
            nursery.cancel_scope.cancel()
        _tell_end(status, parts)
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
        self._collector.end_rest()
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
            ahead=self._ahead,
            sink=self._sink,
            notifier=self._notifier,
            reports=reports,
            environment=os.environ,
            is_ending=lambda: self._is_ending,
        )

    def _leave(self, root: Supervisor, parts: Parts) -> None:
        """As with live-restore, whatever the settings say: the next engine takes over at once."""
        parts.ground.current.leave_containers()
        self._drain(root, parts)

    def _drain(self, root: Supervisor, parts: Parts) -> None:
        self._is_ending = True
        limit_s = parts.running.end_limit_s()
        self._notifier.stopping("draining", takes_s=limit_s + REST_OF_END_S)
        log.info("draining", containers_limit_s=limit_s)
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


async def _status_of(serve_api_wait: Outcome[None], parts: Parts) -> int:
    try:
        await serve_api_wait.wait()
    except Exception:  # logged where it was raised
        return FAILED
    return CONTAINERS_LEFT if parts.running.left else 0


def _tell_end(status: int, parts: Parts) -> None:
    """The last line of the log: how it went."""
    if parts.running.left:
        log.warning(
            "daemon ended, containers that could not be stopped run on",
            status=status,
            containers=list(parts.running.left),
        )
    else:
        log.info("daemon ended", status=status)


def _root_cause(error: BaseException) -> BaseException:
    while isinstance(error, StartFailed) and error.__cause__ is not None:
        error = error.__cause__
    return error


def run(settings: Settings, given: Mapping[str, Value], ahead: StartedAhead) -> int:
    """Run the engine in this thread until it has ended; its exit status.

    Raises:
        ConfigError, OSError: it cannot be started.
    """
    return trio.run(Daemon(settings, given, ahead).run)
