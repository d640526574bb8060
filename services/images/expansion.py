"""How large what is compressed may become: so that a small upload cannot fill a disk."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpansionLimits:
    """How much may come out of a compressed stream.

    A stream may give `free_bytes` whatever it is, past that at most `ratio` times what went in, and
    never more than `total_bytes`. Layers of zeros compress a thousandfold and are honest; what
    takes a disk away is both large and dense.
    """

    free_bytes: int = 4 << 30
    ratio: int = 200
    total_bytes: int = 1 << 40

    def allow(self, given_bytes: int, taken_bytes: int) -> bool:
        """Whether so much may come out of so much, by now."""
        return given_bytes <= min(self.total_bytes, max(self.free_bytes, self.ratio * taken_bytes))
