"""The managers that a node knows, and which to try first."""

from __future__ import annotations

import random
from collections.abc import Iterable


class Remotes:
    """Addresses, host:port. Those that failed last come last; among the rest, chance decides, so
    that nodes spread over their managers."""

    def __init__(self, addresses: Iterable[str]) -> None:
        self._failures = dict.fromkeys(addresses, 0)

    @property
    def addresses(self) -> tuple[str, ...]:
        """All of them, in no order that matters."""
        return tuple(self._failures)

    def update(self, addresses: Iterable[str]) -> None:
        """These are the managers now. None at all is no news: a node must not forget its last."""
        wanted = tuple(addresses)
        if wanted:
            self._failures = {addr: self._failures.get(addr, 0) for addr in wanted}

    def candidates(self) -> list[str]:
        """All of them, the best first."""
        shuffled = random.sample(list(self._failures), len(self._failures))
        return sorted(shuffled, key=lambda addr: self._failures[addr])

    def failed(self, address: str) -> None:
        """It did not answer."""
        if address in self._failures:
            self._failures[address] += 1

    def answered(self, address: str) -> None:
        """It did."""
        if address in self._failures:
            self._failures[address] = 0
