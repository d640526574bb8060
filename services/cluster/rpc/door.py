"""How many connections the swarm port takes, of one address and in all, and who goes for whom.

When it is full the oldest stranger goes for the one that comes: somebody who has shown no
certificate of the cluster. Nodes that have are never closed for others; if there are only these,
who comes is refused. So nobody without a certificate can keep a node out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

MOST: Final = 4096
"""A node has one connection that lasts, and another one now and then."""

MOST_OF_ONE: Final = 256
"""Nodes may stand behind one address."""


@dataclass(eq=False, slots=True)
class Visitor:
    """One connection. `close` closes it at once; `is_known`: it has shown a certificate."""

    address: str
    close: Callable[[], None]
    is_known: bool = False


class Door:
    """The connections that there are."""

    def __init__(self, *, most: int = MOST, most_of_one: int = MOST_OF_ONE) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._visitors: dict[Visitor, None] = {}  # by age
        self._by_address: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._visitors)

    def enter(self, address: str, close: Callable[[], None]) -> Visitor | None:
        """One more, a stranger so far; None if there is no place for it."""
        if self._by_address[address] >= self._most_of_one and not self._close_one(
            one for one in self._visitors if one.address == address
        ):
            return None
        if len(self._visitors) >= self._most and not self._close_one(self._visitors):
            return None
        visitor = Visitor(address, close)
        self._visitors[visitor] = None
        self._by_address[address] += 1
        return visitor

    def leave(self, visitor: Visitor) -> None:
        """It is closed; more than once is fine."""
        if visitor in self._visitors:
            del self._visitors[visitor]
            self._by_address[visitor.address] -= 1
            if not self._by_address[visitor.address]:
                del self._by_address[visitor.address]

    def _close_one(self, among: Iterable[Visitor]) -> bool:
        stranger = next((one for one in among if not one.is_known), None)
        if stranger is None:
            return False
        self.leave(stranger)
        stranger.close()
        return True
