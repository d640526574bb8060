"""Sessions whose lines go out as they are spelled: packet by packet, or down a stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from services.containers.logs.remote.driver import Progress
from services.containers.logs.remote.lines import Line
from services.containers.logs.remote.links import SEND_BUDGET_S, PacketLink, StreamLink, delivery


class PacketSession:
    """A `Session` over packets. `packets_of` spells a line; `name` is the server's, for people."""

    def __init__(
        self, link: PacketLink, packets_of: Callable[[Line], Sequence[bytes]], name: str
    ) -> None:
        self._link, self._packets_of, self._name = link, packets_of, name

    async def send(self, lines: Sequence[Line], progress: Progress) -> None:
        """As `Session.send`; what has left counts as arrived."""
        for line in lines:
            with delivery(f"sending to {self._name}", SEND_BUDGET_S):
                for packet in self._packets_of(line):
                    await self._link.send(packet)
            progress(1)

    async def flush(self, progress: Progress) -> None:
        """Packets that have left are out of our hands."""

    async def aclose(self) -> None:
        """As `Session.aclose`."""
        await self._link.aclose()


class StreamSession:
    """A `Session` over a stream. `spell` gives a line with its end; `name` as above."""

    def __init__(self, link: StreamLink, spell: Callable[[Line], bytes], name: str) -> None:
        self._link, self._spell, self._name = link, spell, name

    async def send(self, lines: Sequence[Line], progress: Progress) -> None:
        """As `Session.send`."""
        data = b"".join([self._spell(line) for line in lines])
        with delivery(f"sending to {self._name}", SEND_BUDGET_S):
            await self._link.send(data, len(lines), progress)

    async def flush(self, progress: Progress) -> None:
        """As `Session.flush`."""
        with delivery(f"sending to {self._name}", SEND_BUDGET_S):
            await self._link.flush(progress)

    async def aclose(self) -> None:
        """As `Session.aclose`."""
        await self._link.aclose()
