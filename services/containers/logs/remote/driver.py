"""The seam between the drivers, which know a protocol, and the shipper, which knows the log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from services.containers.logs.remote.lines import Line

Progress = Callable[[int], object]
"""Told how many more lines, from the front, need not be sent again."""


class DeliveryFailed(Exception):
    """The server did not take what it was sent, or nobody can say whether it did."""


class Session(Protocol):
    """One connection to a server."""

    async def send(self, lines: Sequence[Line], progress: Progress) -> None:
        """Send `lines`, in order. Some may be under way when this returns.

        `progress` is told as the lines arrive, of earlier calls' too, as far as the protocol can
        tell.

        Raises:
            DeliveryFailed: what `progress` was not told of is to be sent again, on a new session.
        """

    async def flush(self, progress: Progress) -> None:
        """Wait until everything has arrived.

        Raises:
            DeliveryFailed: as `send`.
        """

    async def aclose(self) -> None:
        """Close at once."""


class Driver(Protocol):
    """How one container's lines are spelled, and where they go."""

    @property
    def address(self) -> str:
        """For the engine's log."""

    @property
    def retry_s(self) -> float:
        """Before the second attempt at a connection; later ones wait longer."""

    @property
    def session_s(self) -> float:
        """A session older than this is replaced; inf: never."""

    async def connect(self) -> Session:
        """A new session.

        Raises:
            DeliveryFailed: there is no server, or it does not want us.
        """
