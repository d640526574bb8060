"""The operations of the Engine API that Wharfinger does not offer yet, each with its sentence.

Data for the routes that answer 501 and for the compatibility table; a test compares the union of
this and the routes with the definition. Paths are spelled as the definition has them.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsupportedOperation:
    """One operation, and what a client that asks for it is told."""

    method: str
    path: str
    sentence: str


def _table(sentence: str, *operations: str) -> tuple[UnsupportedOperation, ...]:
    return tuple(
        UnsupportedOperation(method=method, path=path, sentence=sentence)
        for method, _, path in (operation.partition(" ") for operation in operations)
    )


UNSUPPORTED: Final = (
    *_table(
        "plugins are not supported",
        "GET /plugins/privileges",
        "POST /plugins/pull",
        "GET /plugins/{name}/json",
        "DELETE /plugins/{name}",
        "POST /plugins/{name}/enable",
        "POST /plugins/{name}/disable",
        "POST /plugins/{name}/upgrade",
        "POST /plugins/create",
        "POST /plugins/{name}/push",
        "POST /plugins/{name}/set",
    ),
)

LIMITS: Final = MappingProxyType(
    {
        ("POST", "/containers/create"): (
            "not yet: log drivers of clouds (awslogs, gcplogs, splunk)"
        ),
        ("GET", "/images/json"): "`identity` knows where an image came from, not its signatures",
        ("GET", "/images/{}/json"): "`Identity` knows where it came from, not its signatures",
        ("POST", "/build"): "results are images of the engine; no other outputs, one platform",
        ("POST", "/networks/create"): (
            "drivers bridge, macvlan, ipvlan, and in a swarm overlay; no network and IPAM plugins"
        ),
        ("POST", "/volumes/create"): "the local driver; no cluster volumes",
        ("PUT", "/volumes/{}"): "503: there are no cluster volumes to update",
        ("GET", "/plugins"): "there are none",
        ("POST", "/services/create"): "tasks are containers; no plugins",
        ("POST", "/secrets/create"): "no secret drivers, which are plugins",
    }
)
"""What operations that are served do not do yet, by method and path (names are "{}")."""
