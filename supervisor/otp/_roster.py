"""What a supervisor can be asked at any time, and what it reports: its children, tree, path."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import Final

import trio

from supervisor.otp.child import Child
from supervisor.otp.errors import NotFound
from supervisor.otp.info import ChildCounts, ChildInfo, count, info
from supervisor.otp.intensity import Intensity, RestartLog
from supervisor.otp.node import Node, SupervisorFacts
from supervisor.otp.report import BACKLOG, Report, ReportKind, Reports, Subscription, now_ns
from supervisor.otp.spec import ChildSpec, ChildType, Strategy
from supervisor.otp.state import State
from supervisor.otp.tree import supervisor_node


class Roster(ABC):
    """A supervisor as far as it can be looked at. Answers come at once, whatever it is doing."""

    def __init__(self, *, name: str, intensity: Intensity) -> None:
        self.name: Final = name
        self.intensity: Final = intensity
        self.reports: Final = Reports()
        self._log = RestartLog(intensity)
        self._children: dict[str, Child] = {}  # in start order
        self._parent: Child | None = None  # while it runs: the child that it runs as, if it is one
        self._path = name
        self._began = 0.0  # trio time when it was last run

    @property
    def path(self) -> str:
        """Where it stands: the path of the child that it runs as, or its name if it is the root."""
        return self._path

    @property
    def parent(self) -> Child | None:
        """The child that this supervisor runs as, or last ran as; None for a root."""
        return self._parent

    def get_childspec(self, child_id: str) -> ChildSpec:
        """The spec of a child.

        Raises:
            NotFound: there is none.
        """
        return self._require(child_id).spec

    def which_children(self) -> tuple[ChildInfo, ...]:
        """Every child whose spec is kept, in start order, as it is at this moment."""
        return tuple(info(child) for child in self._children.values())

    def count_children(self) -> ChildCounts:
        """How many there are, and of what sort."""
        return count(self._children.values())

    @abstractmethod
    def _state(self) -> State:
        """Where the supervisor itself stands."""

    def _require(self, child_id: str) -> Child:
        try:
            return self._children[child_id]
        except KeyError:
            raise NotFound(self.path, child_id, "does not exist") from None

    @abstractmethod
    def tree(self, depth: int | None = None) -> Node:
        """This supervisor and all below it, as they are at this moment.

        With `depth` only so many levels below it: 0 is the supervisor alone.
        """

    @abstractmethod
    async def renew_child(self, child_id: str) -> None:
        """End a running child and start it again. See the two kinds of supervisor."""

    def locate(self, path: str) -> tuple[Roster, str]:
        """The supervisor of the child at `path` in the tree below this one, and the child's id.

        Raises:
            NotFound: nothing stands there now.
        """
        for child in self._children.values():
            if child.path == path:
                return self, child.id
            if isinstance(child.nested, Roster) and path.startswith(f"{child.path}/"):
                return child.nested.locate(path)
        raise NotFound(self.path, path, "does not exist")

    def _node(self, strategy: Strategy | None, depth: int | None) -> Node:
        facts = SupervisorFacts(
            name=self.name,
            strategy=strategy,
            max_restarts=self.intensity.max_restarts,
            window_s=self.intensity.window_s,
            restarts_left=self._log.left(trio.current_time()),
            child_count=len(self._children),
        )
        here = Node(
            path=self._path,
            id=self.name,
            type=ChildType.SUPERVISOR,
            state=self._state(),
            since=self._began,
            state_since=self._began,
        )
        return supervisor_node(here, self._parent, facts, self._children.values(), depth)

    def subscribe(self, limit: int = BACKLOG) -> AbstractContextManager[Subscription]:
        """The reports of this supervisor and of all below it, from now on; see `Subscription`.

        Failures that nobody in the tree subscribes to go to the `logging` logger "supervisor.otp".
        """
        return self.reports.subscribe(limit)

    def _report(
        self,
        kind: ReportKind,
        child: Child,
        error: BaseException | None = None,
        stack: tuple[str, ...] = (),
        overdue_s: float = 0.0,
    ) -> None:
        self.reports.publish(
            Report(
                kind=kind,
                supervisor=self._path,
                child_id=child.id,
                at_ns=now_ns(),
                restarts=child.restarts,
                error=error,
                stack=stack,
                overdue_s=overdue_s,
            )
        )
