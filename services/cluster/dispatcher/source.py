"""Where an agent gets its work: the same in a manager's process and over the network.

An agent opens a session, reads its messages in order, and reports. When the session is lost it
opens another one (to any manager) and gets a complete set again.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from services.cluster.dispatcher.values import (
    AttachmentWish,
    LogMessage,
    SessionMessage,
    TaskUpdate,
)
from services.cluster.model.objects import NodeDescription


class Session(Protocol):
    """One node's conversation with a manager. Heartbeats are sent by whoever made the session.

    Every call raises Unavailable once the session is lost; then only leaving it is of use.
    `receive` is for one task at a time, the other calls may be made beside it.
    """

    async def receive(self) -> SessionMessage:
        """Block until there is something to say: facts first, then complete assignments.

        No limit. What changes several times before it is read is told once.
        """

    async def update_status(self, updates: Sequence[TaskUpdate]) -> None:
        """Report tasks; returns once the managers have stored it. Old states are passed over.

        Tasks that are no longer this node's are passed over too.
        """

    async def describe(self, description: NodeDescription) -> None:
        """Say anew what the node is: its resources, labels or plugins have changed."""

    async def publish_logs(
        self, subscription_id: str, messages: Sequence[LogMessage], *, is_last: bool = False
    ) -> None:
        """Send output that was asked for. Blocks while the reader is behind.

        `is_last`: all of this node's was sent. NotFound: nobody reads it any more; stop.
        """

    async def attach(self, wish: AttachmentWish) -> str:
        """Ask for a place in a network for a container; it comes as a task of the id returned.

        The task ends when the node says so. NotFound: there is no such network. Forbidden: only
        services may be in it.
        """


class AssignmentSource(Protocol):
    """What an agent needs of the managers."""

    def session(self, description: NodeDescription) -> AbstractAsyncContextManager[Session]:
        """Open a session for this node; leaving the block ends it.

        Entering raises Unavailable (no manager answers) and Forbidden (the node was removed).
        """
