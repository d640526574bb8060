"""What an audit finds, and what looks for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        kind: the check that found it: "tasks", "snapshots", ...
        subject: which one: an id, a path, a name.
        text: what is wrong, a sentence for people. It is part of the finding's identity.
    """

    kind: str
    subject: str
    text: str


class Check(Protocol):
    """Compares one kind of thing."""

    @property
    def kind(self) -> str:
        """What its findings are called."""
        ...

    async def look(self) -> Sequence[Finding]:
        """What differs now. May include what is only on its way: it is looked at twice.

        Raises:
            EngineError, OSError: it cannot be told.
        """
        ...
