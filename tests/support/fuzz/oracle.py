"""What must hold of every answer, whatever was asked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

import jsonschema

from tests.services.api.openapi import Definition
from tests.support.fuzz.generate import STREAMS
from tests.support.fuzz.wire import Seen, Sent

SLOW_S: Final = 30.0
"""More than the ten seconds that a stop gives, on a machine with much else to do."""

_NOT_OURS: Final = re.compile(
    r"dial tcp|no such host|attempts to connect|git (?:fetch|init)|Unexpected status code"
    r"|failed to create (?:shim )?task|runc did not terminate successfully"
    r"|timeout waiting for exec session ready"
)
"""500, as dockerd's: other servers, the runtime, and the exec that nobody has started."""
_NO_SWARM: Final = re.compile(r"not a swarm manager|(?:not|already) part of a swarm")
_LOGGED: Final = re.compile(r"Traceback \(most|^\S+ (?:ERROR|FATAL)", re.MULTILINE)
_OF_CONTAINERD: Final = "service=containerd.process"
_NO_JSON: Final = STREAMS | {
    *("ImageCreate", "ImageLoad", "ImageBuild", "ImagePush"),
    "ContainerChanges",  # null, as dockerd's, where nothing has changed
}
_SLIPS: Final = ("Templating", "UpdateStatus", "FailureAction")
"""Members whose definition is narrower than what dockerd answers."""


def complaints(sent: Sent, seen: Seen, definition: Definition, *, method: str) -> Iterator[str]:
    """What is wrong with an answer. `method` is the operation's own."""
    if seen.status == 0:
        yield f"no answer: {seen.problem}"
        return
    if seen.problem:
        yield f"the answer breaks off: {seen.problem}"
    if seen.took_s > SLOW_S:
        yield f"it took {seen.took_s:.1f} s"
    text = seen.body.decode("utf-8", "replace")
    if seen.status >= 500 and not _may_be(seen.status, text):
        yield f"status {seen.status}: {text[:500]}"
    elif seen.status >= 400 and sent.method != "HEAD" and seen.status != 431:
        yield from _error_complaints(seen)
    elif seen.status < 300 and seen.is_whole and sent.method == method:
        yield from _schema_complaints(sent, seen, definition)


def log_complaint(log: str) -> str:
    """What of a piece of the daemon's log tells of a fault; "" if nothing does."""
    ours = "\n".join(line for line in log.splitlines() if _OF_CONTAINERD not in line)
    found = _LOGGED.search(ours)
    return "" if found is None else ours[found.start() :][:4000]


def _may_be(status: int, text: str) -> bool:
    if status == 501:
        return True
    return bool((_NO_SWARM if status == 503 else _NOT_OURS).search(text))


def _error_complaints(seen: Seen) -> Iterator[str]:
    try:
        told = json.loads(seen.body)
    except ValueError:
        told = None
    if not (isinstance(told, dict) and set(told) == {"message"} and told["message"]):
        yield f"status {seen.status} without a message: {seen.body[:200]!r}"


def _schema_complaints(sent: Sent, seen: Seen, definition: Definition) -> Iterator[str]:
    if sent.operation in _NO_JSON or seen.headers.get("content-type") != "application/json":
        return
    try:
        definition.validate(sent.operation, seen.status, json.loads(seen.body))
    except jsonschema.ValidationError as error:
        if not any(slip in error.json_path for slip in _SLIPS):
            yield f"not as defined: {error.json_path}: {error.message[:300]}"
    except (LookupError, ValueError) as error:
        yield f"not as defined: {error}"
