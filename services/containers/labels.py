"""The labels on a container that the engine itself obeys. An image may bring them as well.

    io.wharfinger.restart.first    100ms    the first delay of a restart by policy
    io.wharfinger.restart.factor   2        what a delay grows by from one restart to the next
    io.wharfinger.restart.cap      1m       no delay is longer
    io.wharfinger.restart.jitter   0        the part of a delay that is left to chance, 0 to 1
    io.wharfinger.unhealthy        ignore   "restart": becoming unhealthy counts as a failure
    io.wharfinger.group...                  see services/containers/groups/labels.py
    io.wharfinger.host-config               of services' tasks, see services/cluster/agent

They are checked at the create, so that a typing error does not show when the container fails.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from services.containers.groups.labels import GROUP_LABELS, membership_of
from services.containers.runs.restart_policy import Backoff
from services.errors import InvalidParameter

PREFIX: Final = "io.wharfinger."
FIRST: Final = "io.wharfinger.restart.first"
FACTOR: Final = "io.wharfinger.restart.factor"
CAP: Final = "io.wharfinger.restart.cap"
JITTER: Final = "io.wharfinger.restart.jitter"
UNHEALTHY: Final = "io.wharfinger.unhealthy"
HOST_CONFIG: Final = "io.wharfinger.host-config"
"""Was obeyed when the request for a task's container was made; nothing else looks at it."""

KNOWN: Final = frozenset((FIRST, FACTOR, CAP, JITTER, UNHEALTHY, HOST_CONFIG)) | GROUP_LABELS

TASK_ID: Final = "com.docker.swarm.task.id"
TASK_NAME: Final = "com.docker.swarm.task.name"
"""What a cluster's agent gives to the containers that it makes."""

MAX_DELAY_S: Final = 24 * 3600.0
MAX_FACTOR: Final = 1000.0

_UNIT_S: Final[Mapping[str, float]] = MappingProxyType(
    {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
)
_SPAN: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ns|us|µs|ms|s|m|h)")
_NUMBER: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?\Z")


def check_labels(labels: Mapping[str, str]) -> None:
    """Refuse what the engine would have to pass over.

    Raises:
        InvalidParameter: one of the engine's own labels has an impossible value, or there is none
            of that name.
    """
    for name in labels:
        if name.startswith(PREFIX) and name not in KNOWN:
            raise InvalidParameter(
                f"invalid label {name}: the engine's own are {', '.join(sorted(KNOWN))}"
            )
    backoff_of(labels)
    ends_unhealthy(labels)
    membership_of(labels)


def task_id_of(name: str, labels: Mapping[str, str] | None) -> str:
    """The task of the cluster that a container of this name is; "" for any other container.

    The label alone does not say so: an image that was made of a task's container bears it, too.
    """
    labels = labels or {}
    return labels.get(TASK_ID, "") if labels.get(TASK_NAME) == name else ""


def backoff_of(labels: Mapping[str, str]) -> Backoff:
    """How long restarts by policy are put off. Raises InvalidParameter."""
    default = Backoff()
    first_s = _span_s(labels, FIRST, default.first_s)
    # One that says only that the first delay is long means no shorter ones after it.
    cap_s = _span_s(labels, CAP, max(default.cap_s, first_s))
    if cap_s < first_s:
        raise InvalidParameter(f"invalid label {CAP}: it is shorter than {FIRST}")
    return Backoff(
        first_s=first_s,
        factor=_number(labels, FACTOR, default.factor, least=1.0, most=MAX_FACTOR),
        cap_s=cap_s,
        jitter=_number(labels, JITTER, default.jitter, least=0.0, most=1.0),
    )


def ends_unhealthy(labels: Mapping[str, str]) -> bool:
    """Whether the container is ended when it is unhealthy. Raises InvalidParameter."""
    value = labels.get(UNHEALTHY, "ignore")
    if value not in ("ignore", "restart"):
        raise InvalidParameter(f'invalid label {UNHEALTHY}: "{value}" is not "restart" or "ignore"')
    return value == "restart"


def _span_s(labels: Mapping[str, str], name: str, default_s: float) -> float:
    """A span as Go writes it: 250ms, 1.5s, 1m30s."""
    text = labels.get(name)
    if text is None:
        return default_s
    parts = _SPAN.findall(text)
    span_s = math.fsum(float(number) * _UNIT_S[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text or not 0 < span_s <= MAX_DELAY_S:
        raise InvalidParameter(
            f'invalid label {name}: "{text}" is not a time like 500ms or 1m30s, of at most 24h'
        )
    return span_s


def _number(
    labels: Mapping[str, str], name: str, default: float, *, least: float, most: float
) -> float:
    text = labels.get(name)
    if text is None:
        return default
    if not _NUMBER.match(text) or not least <= float(text) <= most:
        raise InvalidParameter(
            f'invalid label {name}: "{text}" is not a number from {least:g} to {most:g}'
        )
    return float(text)
