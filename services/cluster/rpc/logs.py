"""Logs of tasks from the whole cluster: nodes have their sessions with all managers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import trio
from loguru import logger

from protos.generated.cluster import SubscribeLogsRequest
from services.cluster.ca.credentials import HeldCredentials
from services.cluster.dispatcher.dispatcher import Dispatcher
from services.cluster.dispatcher.values import LogMessage, LogOptions, LogSelector
from services.cluster.model.objects import NodeState
from services.cluster.model.snapshot import Snapshot
from services.cluster.rpc.client import manager_address, open_manager
from services.cluster.rpc.codec import decode_logs, encode_json
from services.cluster.rpc.methods import SUBSCRIBE_LOGS
from services.cluster.rpc.tls import client_context
from services.errors import EngineError, single_error

BACKLOG: Final = 256
# For readers that follow: between two looks for managers that were not there before.
LOOK_S: Final = 2.0

Lines = trio.MemorySendChannel[LogMessage]

log = logger.bind(service="cluster.rpc")


class ClusterLogs:
    """Logs through this manager's dispatcher and all the other managers'."""

    def __init__(
        self, dispatcher: Dispatcher, held: HeldCredentials, snapshot: Callable[[], Snapshot]
    ) -> None:
        self._dispatcher = dispatcher
        self._held = held
        self._snapshot = snapshot

    @asynccontextmanager
    async def subscribe_logs(
        self, selector: LogSelector, options: LogOptions
    ) -> AsyncIterator[trio.MemoryReceiveChannel[LogMessage]]:
        """Output in each task's own order; the channel ends unless `follow`.

        A manager that does not answer is left out: its nodes' output is missing then, and the log
        says so. Leaving the block ends the subscription everywhere.
        """
        send, receive = trio.open_memory_channel[LogMessage](BACKLOG)
        with receive, single_error():  # closed last: a blocked sender is to be cancelled, not told
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._gather, selector, options, send)
                yield receive
                nursery.cancel_scope.cancel()

    async def _gather(self, selector: LogSelector, options: LogOptions, send: Lines) -> None:
        """Start a reader for each manager; the channel ends with the last of them."""
        asked: set[str] = set()
        async with send, trio.open_nursery() as nursery:
            nursery.start_soon(self._own, selector, options, send.clone())
            while True:
                for address in self._others() - asked:
                    asked.add(address)
                    nursery.start_soon(
                        self._other, address, selector, options, send.clone(), asked.discard
                    )
                if not options.follow:
                    return
                await trio.sleep(LOOK_S)

    async def _own(self, selector: LogSelector, options: LogOptions, send: Lines) -> None:
        async with (
            send,
            self._dispatcher.subscribe_logs(selector, options) as messages,
        ):
            async for message in messages:
                await send.send(message)

    async def _other(
        self,
        address: str,
        selector: LogSelector,
        options: LogOptions,
        send: Lines,
        is_over: Callable[[str], None],
    ) -> None:
        request = SubscribeLogsRequest(
            selector_json=encode_json(selector), options_json=encode_json(options)
        )
        context = client_context(self._held.credentials)
        try:
            async with (
                send,
                open_manager(manager_address(address), context) as manager,
                manager.stream(SUBSCRIBE_LOGS, request) as batches,
            ):
                async for batch in batches:
                    for message in decode_logs(batch.messages):
                        await send.send(message)
        except EngineError as error:
            log.bind(manager=address, error=str(error)).warning(
                "a manager's nodes are missing in what a reader of logs gets"
            )
        finally:
            is_over(address)

    def _others(self) -> set[str]:
        """Addresses of the other managers that are heard of."""
        own = self._held.credentials.identity.node_id
        return {
            node.manager.addr
            for node in self._snapshot().nodes.values()
            if node.manager and node.id != own and node.status.state != NodeState.DOWN
        }
