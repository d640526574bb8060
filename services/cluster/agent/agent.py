"""A node's agent: it keeps a session with the managers, does what they say, and tells what it sees.

    agent            rest_for_one
    ├─ tasks         dynamic: one child for each task
    ├─ session       opens a session, reads it, reports; again and again
    └─ late starts   starts what the engine's start could not, then ends

Without a session everything goes on: tasks run, their ends are recorded, and told later.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final

import trio
from loguru import logger

from services.cluster.agent.book import StatusBook
from services.cluster.agent.guests import GuestTasks
from services.cluster.agent.late_starts import LateStarts
from services.cluster.agent.logs import LogService
from services.cluster.agent.ports import Describer, FactsListener, Places
from services.cluster.agent.worker import Worker
from services.cluster.dispatcher.source import AssignmentSource, Session
from services.cluster.dispatcher.values import (
    Assignments,
    LogRequest,
    LogStop,
    SessionFacts,
    SessionMessage,
)
from services.errors import EngineError, Forbidden, Unavailable, single_error
from supervisor.otp import (
    INFINITY,
    Backoff,
    ChildSpec,
    ChildType,
    Intensity,
    Restart,
    Strategy,
    Supervisor,
)

log = logger.bind(service="cluster")

AGAIN: Final = Backoff(first_s=0.1, cap_s=1.5)
"""Between sessions. swarmkit's agent goes up to 8 s; a node that was cut off is to know within 5 s
of its return what has changed meanwhile, and an attempt takes time too."""

DESCRIBE_EVERY_S: Final = 20.0
"""How often the node's description is compared with what was told; swarmkit's interval."""

STEADY_S: Final = 10.0
"""A session of this length starts the back-off anew."""

QUIET_TRIES: Final = 5
"""Failures in a row that are told of to nobody: with the back-off they take some seconds."""


class ManagerLink:
    """The present session, for whoever has something to ask.

    Attributes:
        session: None while there is none.
    """

    def __init__(self) -> None:
        self.session: Session | None = None

    def require(self) -> Session:
        """Raises Unavailable when there is none."""
        if self.session is None:
            raise Unavailable("no manager of the swarm can be reached; try again")
        return self.session


class Agent:
    """`run` is a supervised child of the cluster's tree, a supervisor itself."""

    def __init__(
        self,
        *,
        source: AssignmentSource,
        worker: Worker,
        book: StatusBook,
        logs: LogService,
        late_starts: LateStarts,
        link: ManagerLink,
        guests: GuestTasks,
        places: Places,
        describe: Describer,
        listeners: Sequence[FactsListener] = (),
        on_removed: Callable[[], None] = lambda: None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`on_removed` is called when the managers refuse the node: it was removed."""
        self._source = source
        self._worker = worker
        self._book = book
        self._logs = logs
        self._late_starts = late_starts
        self._link = link
        self._guests = guests
        self._places = places
        self._describe = describe
        self._listeners = tuple(listeners)
        self._on_removed = on_removed
        self._chance = chance

    async def run(self, *, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED) -> None:
        """Work until asked to end. Containers run on."""
        tree = Supervisor(
            [
                ChildSpec(
                    id="tasks",
                    start=self._worker.run,
                    type=ChildType.SUPERVISOR,
                    shutdown_s=INFINITY,
                ),
                ChildSpec(id="session", start=self._keep_session, backoff=AGAIN),
                ChildSpec(
                    id="late starts",
                    start=self._late_starts.run,
                    restart=Restart.TRANSIENT,
                    backoff=AGAIN,
                ),
            ],
            name="agent",
            strategy=Strategy.REST_FOR_ONE,
            intensity=Intensity(max_restarts=10, window_s=60.0),
        )
        self._places.attach_by(self._guests)
        try:
            await tree.run(task_status=task_status)
        finally:
            self._places.attach_by(None)

    def _tell_of(self, error: EngineError, failures: int) -> None:
        """At a node's start its first tries come before a manager is ready: that is no news."""
        if self._link.session is not None:
            log.warning("session lost", error=str(error))
        elif failures >= QUIET_TRIES:
            log.warning("no manager gives this node a session", error=str(error))

    async def _keep_session(self) -> None:
        failures = 0
        while True:
            began_at = trio.current_time()
            try:
                await self._hold_session()
            except Forbidden as error:
                log.error("the managers refuse this node", error=str(error))
                self._on_removed()
            except EngineError as error:  # whatever a manager answers, another may do better
                self._tell_of(error, failures)
            finally:
                self._link.session = None
            if trio.current_time() - began_at >= STEADY_S:
                failures = 0
            failures += 1
            # Half of it by chance: all nodes lose a manager at once.
            await trio.sleep(AGAIN.delay_s(failures) * (0.5 + self._chance() / 2))

    async def _hold_session(self) -> None:
        description = self._describe()
        async with self._source.session(description) as session:
            self._link.session = session
            with single_error():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._book.report_to, session)
                    nursery.start_soon(self._keep_described, session)
                    async with self._logs.serving(session) as logs:
                        while True:
                            await self._take(await session.receive(), logs.take)

    async def _take(
        self, message: SessionMessage, take_log: Callable[[LogRequest | LogStop], None]
    ) -> None:
        match message:
            case SessionFacts():
                await self._worker.take_facts(message)
                for listener in self._listeners:
                    listener(message)
            case Assignments():
                await self._worker.apply(message)
            case LogRequest() | LogStop():
                take_log(message)

    async def _keep_described(self, session: Session) -> None:
        told = self._describe()
        while True:
            await trio.sleep(DESCRIBE_EVERY_S)
            now = self._describe()
            if now != told:
                await session.describe(now)
                told = now
