"""How long the API's operations take until their answer begins, how they are answered, how many
are open."""

from __future__ import annotations

import re
from functools import cache
from time import perf_counter
from typing import Final

from services.measures import Counts, Durations

ANSWERED_KEY: Final = "wharfinger.answered"
"""Key in a request's scope of what is to be called, with operation and status, when its answer is
about to begin. Absent without a `Front`."""

UNKNOWN: Final = "_unknown"
"""The operation of a request for what is not there: its path is the client's to choose."""

_CONVERTER: Final = re.compile(r"<(?:[^:<>]*:)?([^<>]*)>")


class ApiMeasures:
    """Of all listeners together.

    Attributes:
        durations: seconds from the request's head to the moment when the answer begins, by
            operation; a stream's or a hijack's length is not in it.
        answers: how many, by operation and status.
        open: requests that are being answered now, streams and hijacks among them.
    """

    def __init__(self) -> None:
        self.durations: Final = Durations()
        self.answers: Final = Counts()
        self.open = 0

    def answered(self, began: float, operation: str, status: int) -> None:
        """A request that came at `began` (perf_counter) is being answered."""
        self.durations.observe(operation, perf_counter() - began)
        self.answers.add(operation, str(status))


@cache  # of as many as there are routes
def operation_of(method: str, rule: str) -> str:
    """An operation's name: its method, and its path as the API's definition spells it."""
    return method + " " + _CONVERTER.sub(r"{\1}", rule)
