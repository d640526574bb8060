"""Following the changes of all keys of a prefix, in batches that are whole."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from protos.generated.etcdserverpb import WatchCreateRequest, WatchRequest, WatchResponse
from protos.generated.mvccpb import Event, EventEventType
from services.errors import Unavailable
from services.grpc.stream import Stream

from .client import EtcdClient, end_of_prefix, to_key_value
from .errors import Compacted
from .methods import WATCH
from .values import Batch, Deleted, KeyValue


class Watch:
    """An open watch. For one task. Unread changes wait in HTTP/2's window, and then in etcd."""

    def __init__(self, stream: Stream[WatchRequest, WatchResponse]) -> None:
        self._stream = stream

    async def next(self) -> Batch:
        """Block until there are changes.

        Raises:
            Compacted: they are not known any more.
            Unavailable: the member went, or has known no leader for a while.
        """
        events: list[KeyValue | Deleted] = []
        while True:
            reply = await self._stream.receive()
            if reply is None:
                raise Unavailable("etcd ended the watch")
            if reply.canceled:
                raise _cancelled(reply)
            events.extend(map(_event, reply.events))
            if events and not reply.fragment:
                return Batch(events[-1].modified, events)


@asynccontextmanager
async def watching(client: EtcdClient, prefix: str, *, after: int) -> AsyncIterator[Watch]:
    """Within the block: the changes after revision `after`, all of them.

    Entering raises what `next` raises; a member that knows no leader lets nobody in.
    """
    async with client.connection.stream(WATCH, prefix) as stream:
        create = WatchCreateRequest(
            key=prefix.encode(),
            range_end=end_of_prefix(prefix).encode(),
            start_revision=after + 1,
            fragment=True,
        )
        await stream.send(WatchRequest(create_request=create))
        reply = await stream.receive()
        if reply is None:
            raise Unavailable("etcd ended the watch")
        if reply.canceled:
            raise _cancelled(reply)
        yield Watch(stream)


def _cancelled(reply: WatchResponse) -> Exception:
    if reply.compact_revision:
        return Compacted(f"etcd has no history before revision {reply.compact_revision}")
    return Unavailable(f"etcd cancelled the watch: {reply.cancel_reason}")


def _event(event: Event) -> KeyValue | Deleted:
    assert event.kv is not None
    if event.type == EventEventType.DELETE:
        return Deleted(event.kv.key.decode(), event.kv.mod_revision)
    return to_key_value(event.kv)
