"""Placement constraints: what a node must be for a task to run on it.

Source: Engine API, Placement.Constraints; swarmkit compares names and values without regard to
case, but labels' names as they are written.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from services.cluster.model.objects import Node
from services.errors import InvalidParameter

_KEY: Final = re.compile(r"^[a-zA-Z0-9_][a-zA-Z0-9\-_.]+$")
_VALUE: Final = re.compile(r"^[a-zA-Z0-9:\-_\s.*()?+\[\]\\^$|/]+$")
_NODE_LABELS: Final = "node.labels."
_ENGINE_LABELS: Final = "engine.labels."


@dataclass(frozen=True, slots=True)
class Constraint:
    """`key` == `value`, or != when `is_negated`."""

    key: str
    value: str
    is_negated: bool

    def allows(self, node: Node) -> bool:
        """Whether the node is as it says. A label that is not there equals nothing."""
        if self.key.lower() == "node.ip":
            return _is_address(node.status.addr, self.value) is not self.is_negated
        have = _fact(self.key, node)
        if have is None:
            return False
        return (have.lower() == self.value.lower()) is not self.is_negated


@lru_cache(maxsize=4096)  # expressions by their text: many tasks have the same
def parse(expression: str) -> Constraint:
    """One expression, `node.role==manager` or `node.labels.zone != east`.

    Raises:
        InvalidParameter: it is not one, in swarm's words.
    """
    for operator in ("==", "!="):
        if operator not in expression:
            continue
        key, _, value = expression.partition(operator)
        key, value = key.strip(), value.strip()
        if not _KEY.match(key):
            raise InvalidParameter(f"key '{key}' is invalid")
        if not _VALUE.match(value):
            raise InvalidParameter(f"value '{value}' is invalid")
        return Constraint(key, value, operator == "!=")
    raise InvalidParameter(
        f"constraint expected one operator from ==, !=: '{expression}' has none of them"
    )


def allow(expressions: Iterable[str], node: Node) -> bool:
    """Whether a node meets all. What cannot be read is met by none: control refuses it before."""
    try:
        return all(parse(expression).allows(node) for expression in expressions)
    except InvalidParameter:
        return False


def label_of(descriptor: str, node: Node) -> str:
    """What a node has for `node.labels.NAME` or `engine.labels.NAME`; "" without one."""
    found = _label(descriptor, node)
    return found if found is not None else ""


def _fact(key: str, node: Node) -> str | None:
    """What a key stands for; None for a key that nobody knows."""
    match key.lower():
        case "node.id":
            return node.id
        case "node.hostname":
            return node.description.hostname
        case "node.role":
            return node.role
        case "node.platform.os":
            return node.description.platform.os
        case "node.platform.arch":
            return node.description.platform.architecture
    label = _label(key, node)
    if label is None and key.lower().startswith((_NODE_LABELS, _ENGINE_LABELS)):
        return ""  # so that != holds on a node without the label
    return label


def _label(key: str, node: Node) -> str | None:
    """The label that a key names, None for none."""
    labels: Mapping[str, str]
    if key.lower().startswith(_NODE_LABELS):
        labels, name = node.spec.labels, key[len(_NODE_LABELS) :]
    elif key.lower().startswith(_ENGINE_LABELS):
        labels, name = node.description.engine.labels, key[len(_ENGINE_LABELS) :]
    else:
        return None
    return labels.get(name)


def _is_address(addr: str, wanted: str) -> bool:
    """Whether an address is another, or lies in a network."""
    try:
        host = ipaddress.ip_address(addr.rpartition(":")[0].strip("[]") or addr)
        return host in ipaddress.ip_network(wanted, strict=False)
    except ValueError:
        return False
