"""The tree's reports as a stream of events that a reader can take up where it left off.

An event's id is the daemon's run and the report's number in it. A reader that comes with the id of
another run is told `reset`: what it knows is of a daemon that is gone.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any, Final

import trio

from services.errors import InvalidParameter

from . import sse
from .history import Missed, ReportHistory, ReportReader, SeenReport

_ID: Final = re.compile(r"([0-9a-f]{8})-([0-9]{1,18})")


async def report_events(
    history: ReportHistory, place: tuple[str, int] | None = None
) -> AsyncIterator[bytes]:
    """Events `report`, `missed` (so many are not kept any more) and `reset`, for ever.

    After `place`, which is an id that was read; None: from now on, beginning with `hello`, which
    has the id of the newest report.
    """
    run_id = history.run_id
    if place is None:
        reader = history.reader()
        hello = {"run": run_id, "newest": history.newest}
        yield sse.OPENING + sse.event("hello", hello, id=f"{run_id}-{history.newest}")
    elif place[0] == run_id:
        reader = history.reader(after=place[1])
        yield sse.OPENING
    else:
        reader = history.reader(after=0)
        yield sse.OPENING + sse.event("reset", {"run": run_id})
    while True:
        found = await _next(reader)
        if found is None:
            yield sse.HEARTBEAT
        elif isinstance(found, Missed):
            id = f"{run_id}-{found.next_number - 1}"
            yield sse.event("missed", {"count": found.count}, id=id)
        else:
            id = f"{run_id}-{found.number}"
            yield sse.event("report", report_to_wire(found), id=id)


def parse_id(text: str) -> tuple[str, int]:
    """The run and the number of an event's id.

    Raises:
        InvalidParameter: it is no such id.
    """
    found = _ID.fullmatch(text)
    if found is None:
        raise InvalidParameter(f"not the id of a report: {text[:100]}")
    return found[1], int(found[2])


def report_to_wire(report: SeenReport) -> dict[str, Any]:
    """A report as JSON has it; what is empty is left out."""
    wire = {
        "number": report.number,
        "kind": report.kind.value,
        "path": report.path,
        "supervisor": report.supervisor,
        "child": report.child,
        "at_ns": report.at_ns,
        "restarts": report.restarts,
    }
    more = {
        "error": report.error,
        "traceback": report.traceback,
        "stack": list(report.stack),
        "overdue_s": report.overdue_s,
    }
    return wire | {name: value for name, value in more.items() if value}


async def _next(reader: ReportReader) -> SeenReport | Missed | None:
    with trio.move_on_after(sse.HEARTBEAT_S):
        return await reader.next()
    return None
