"""What a transaction is in etcd: conditions and writes, and what it means that one did not hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, assert_never

from services.cluster.etcd.values import (
    Condition,
    Created,
    DeleteKey,
    Exists,
    KeyValue,
    Modified,
    NotSince,
    PutKey,
    Write,
)
from services.cluster.model.objects import ClusterNetwork, Config, Secret, Stored
from services.cluster.model.snapshot import Change, Delete, Transaction
from services.errors import Conflict

from .codec import LEADER_KEY, NAMED, Codec, key_of, name_key_of, name_of_key, use_key_of
from .contract import MAX_USES, LeadershipLost, NameTaken, OutOfSequence, UseOfNothing

MAX_CHANGES: Final = 60  # more would keep others waiting for long

USED: Final[tuple[type[Stored], ...]] = (Secret, Config, ClusterNetwork)
"""The kinds that others name, and that are taken away only when nobody does."""

Present = Callable[[str, str], Stored | None]
"""The object of a kind and an id as the mirror has it."""


@dataclass(frozen=True, slots=True)
class Operation:
    """What is sent, and compared with what was found when it was refused."""

    conditions: tuple[Condition, ...]
    writes: tuple[Write, ...]


def operation(
    transaction: Transaction, codec: Codec, present: Present, *, fence: int | None
) -> Operation:
    """`fence`: the revision at which the leader's key has come to be whose leader writes."""
    if len(transaction.changes) > MAX_CHANGES:
        raise ValueError(f"{len(transaction.changes)} changes cannot be made in one transaction")
    if len(transaction.uses) > MAX_USES:
        raise ValueError(f"{len(transaction.uses)} objects cannot be named in one transaction")
    conditions: list[Condition] = []
    writes: list[Write] = []
    if fence is not None:
        conditions.append(Created(LEADER_KEY, fence))
    for change in transaction.changes:
        for condition, write in _of_change(change, codec, present):
            conditions.extend(condition)
            writes.append(write)
        if isinstance(change, Delete) and isinstance(change.object, USED):
            use_key = use_key_of(change.object)
            writes.append(DeleteKey(use_key))
            if transaction.decided_at:
                conditions.append(NotSince(use_key, transaction.decided_at))
    for used in transaction.uses:
        conditions.append(Exists(key_of(used)))
        writes.append(PutKey(use_key_of(used), b""))
    return Operation(tuple(conditions), tuple(writes))


def refusal(asked: Operation, found: Sequence[KeyValue]) -> Conflict:
    """Why it was refused, by what was found."""
    there = {key.key: key for key in found}
    failed = [condition for condition in asked.conditions if not _holds(condition, there)]
    if any(condition.key == LEADER_KEY for condition in failed):
        return LeadershipLost("another manager leads the cluster")
    if any(isinstance(condition, Exists) for condition in failed):
        return UseOfNothing("what was to be used has been removed meanwhile")
    names = [name_of_key(condition.key) for condition in failed]
    # Of an object that has changed meanwhile it says nothing that its name is taken.
    if names and None not in names and names[0] is not None:
        return NameTaken(*names[0])
    return OutOfSequence("rpc error: code = Unknown desc = update out of sequence")


def _of_change(
    change: Change, codec: Codec, present: Present
) -> list[tuple[list[Condition], Write]]:
    stored = change.object
    key = key_of(stored)
    unchanged = Modified(key, stored.version)
    before = present(stored.kind, stored.id) if isinstance(stored, NAMED) else None
    if isinstance(change, Delete):
        steps: list[tuple[list[Condition], Write]] = [([unchanged], DeleteKey(key))]
        if isinstance(stored, NAMED):
            name = before.name if before is not None else stored.name
            steps.append(([], DeleteKey(name_key_of(stored.kind, name))))
        return steps
    steps = [([unchanged], PutKey(key, codec.encode(stored)))]
    if not isinstance(stored, NAMED) or (before is not None and before.name == stored.name):
        return steps
    if before is not None:
        steps.append(([], DeleteKey(name_key_of(stored.kind, before.name))))
    name_key = name_key_of(stored.kind, stored.name)
    steps.append(([Modified(name_key, 0)], PutKey(name_key, stored.id.encode())))
    return steps


def _holds(condition: Condition, there: dict[str, KeyValue]) -> bool:
    key = there.get(condition.key)
    match condition:
        case Exists():
            return key is not None
        case NotSince(_, revision):
            return key is None or key.modified <= revision
        case Created(_, revision):
            return (key.created if key is not None else 0) == revision
        case Modified(_, revision):
            return (key.modified if key is not None else 0) == revision
    assert_never(condition)
