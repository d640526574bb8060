"""Netlink messages in as many datagrams as they need."""

from __future__ import annotations

import socket
from typing import Final

from services.networks.kernel import rtnetlink as rt

_MOST_IN_ONE: Final = 100
"""Messages in a datagram: their answers wait in the socket's buffer until all were handled."""


class LongBatch(rt.Batch):
    """A batch without a bound."""

    __slots__ = ()

    def send(self, netlink: socket.socket) -> None:
        """See `Batch.send`: all are tried, the first refusal is raised."""
        refused: rt.NetlinkError | None = None
        for start in range(0, len(self._messages), _MOST_IN_ONE):
            end = start + _MOST_IN_ONE
            part = rt.Batch(self._messages[start:end], self._steps[start:end])
            try:
                part.send_from(netlink, start)
            except rt.NetlinkError as error:
                refused = refused or error
        if refused is not None:
            raise refused
