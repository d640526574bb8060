"""Logs of tasks, from the nodes that run them to who asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
import trio

from services.cluster.dispatcher.values import LogMessage, LogOptions, LogRequest, LogSelector
from services.cluster.model.objects import Task
from services.cluster.model.wire import new_id, utc_now
from services.errors import NotFound

# A reader that is behind holds up its nodes' senders, and these their containers' log files; nobody
# else.
BACKLOG: Final = 256
# A node that loses its manager has found another one by then.
MOVED_WITHIN: Final = timedelta(seconds=10)


def matches(selector: LogSelector, task: Task) -> bool:
    """Whether a task's output was asked for."""
    return task.id in selector.task_ids or task.service_id in selector.service_ids


class Subscription:
    """One reader's. It ends by itself when it does not follow and all nodes have sent all.

    `sessions`: the nodes that had a session when it began; of these, `waiting_for` have output.
    """

    def __init__(
        self, request: LogRequest, sessions: Iterable[str], waiting_for: Iterable[str]
    ) -> None:
        self._request = request
        self._sessions = frozenset(sessions)
        self._waiting_for = set(waiting_for)
        self._heard_ns: dict[str, int] = {}  # by node, the newest line's time
        self._send, self.messages = trio.open_memory_channel[LogMessage](BACKLOG)
        self._end_if_complete()

    def request_for(self, node_id: str, now: datetime) -> LogRequest:
        """What to ask of a node: what it has, or, when it comes back, what it has not sent.

        A node that comes from another manager may have sent its past there: of it only the last
        moments are asked for.
        """
        heard_ns = self._heard_ns.get(node_id)
        if heard_ns is not None:
            return self._since(datetime.fromtimestamp(heard_ns / 1e9, UTC))
        if node_id in self._sessions or not self._request.options.follow:
            return self._request
        asked = self._request.options.since
        moment = now - MOVED_WITHIN
        return self._since(moment if asked is None else max(asked, moment))

    def _since(self, moment: datetime) -> LogRequest:
        options = msgspec.structs.replace(self._request.options, since=moment, tail=None)
        return msgspec.structs.replace(self._request, options=options)

    async def publish(self, node_id: str, messages: Sequence[LogMessage], is_last: bool) -> None:
        """Messages of one node. Blocks while the reader is behind. Raises NotFound at its end."""
        try:
            for message in messages:
                await self._send.send(message)
                self._heard_ns[node_id] = message.timestamp_ns
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise NotFound("nobody reads these logs any more") from error
        if is_last:
            self.is_done_with(node_id)

    @property
    def selector(self) -> LogSelector:
        """What is wanted."""
        return self._request.selector

    def is_done_with(self, node_id: str) -> None:
        """Nothing more comes from a node: it has sent all, or is gone."""
        self._waiting_for.discard(node_id)
        self._end_if_complete()

    def close(self) -> None:
        """Nobody reads any more."""
        self._send.close()
        self.messages.close()

    def _end_if_complete(self) -> None:
        if not self._waiting_for and not self._request.options.follow:
            self._send.close()


class LogBroker:
    """The subscriptions on this manager, for the nodes that have their sessions here."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._subscriptions: dict[str, Subscription] = {}
        self._on_change = on_change  # sessions look which requests are theirs

    @property
    def selectors(self) -> Mapping[str, LogSelector]:
        """What is wanted, by subscription."""
        return {id: one.selector for id, one in self._subscriptions.items()}

    def request_for(self, subscription_id: str, node_id: str) -> LogRequest:
        """What to ask of a node; the subscription is there."""
        return self._subscriptions[subscription_id].request_for(node_id, utc_now())

    def has_nothing(self, subscription_id: str, node_id: str) -> None:
        """None of a node's tasks is asked for: those that were when it began are deleted by now."""
        self._subscriptions[subscription_id].is_done_with(node_id)

    @asynccontextmanager
    async def subscribe(
        self,
        selector: LogSelector,
        options: LogOptions,
        *,
        sessions: Iterable[str],
        waiting_for: Iterable[str],
    ) -> AsyncIterator[trio.MemoryReceiveChannel[LogMessage]]:
        """Output of the selected tasks, in each task's own order; it ends with EndOfChannel.

        `waiting_for` are those of `sessions` whose answers are waited for when it does not follow.
        Leaving the block ends the subscription.
        """
        request = LogRequest(subscription_id=new_id(), selector=selector, options=options)
        subscription = Subscription(request, sessions, waiting_for)
        self._subscriptions[request.subscription_id] = subscription
        self._on_change()
        try:
            yield subscription.messages
        finally:
            del self._subscriptions[request.subscription_id]
            subscription.close()
            self._on_change()

    async def publish(
        self, node_id: str, subscription_id: str, messages: Sequence[LogMessage], is_last: bool
    ) -> None:
        """What a node has sent. Raises NotFound when nobody reads it any more."""
        subscription = self._subscriptions.get(subscription_id)
        if subscription is None:
            raise NotFound("nobody reads these logs any more")
        await subscription.publish(node_id, messages, is_last)

    def node_is_gone(self, node_id: str) -> None:
        """Its session has ended."""
        for subscription in self._subscriptions.values():
            subscription.is_done_with(node_id)
