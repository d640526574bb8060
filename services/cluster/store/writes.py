"""What a transaction is in etcd: conditions and writes, and what it means that one did not hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from services.cluster.etcd.values import (
    Condition,
    Created,
    DeleteKey,
    KeyValue,
    Modified,
    PutKey,
    Write,
)
from services.cluster.model.objects import Stored
from services.cluster.model.snapshot import Change, Delete, Transaction
from services.errors import Conflict

from .codec import LEADER_KEY, NAMED, Codec, key_of, name_key_of, name_of_key
from .contract import LeadershipLost, NameTaken, OutOfSequence

MAX_CHANGES: Final = 60  # etcd takes 128 operations; a name is another one

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
    conditions: list[Condition] = []
    writes: list[Write] = []
    if fence is not None:
        conditions.append(Created(LEADER_KEY, fence))
    for change in transaction.changes:
        for condition, write in _of_change(change, codec, present):
            conditions.extend(condition)
            writes.append(write)
    return Operation(tuple(conditions), tuple(writes))


def is_made(asked: Operation, found: Sequence[KeyValue]) -> bool:
    """Whether what was found is what the operation leaves: an earlier attempt went through.

    What one transaction writes bears one revision.
    """
    there = {key.key: key for key in found}
    revisions = set()
    for write in asked.writes:
        key = there.get(write.key)
        if isinstance(write, DeleteKey):
            if key is not None:
                return False
        elif key is None or key.value != write.value:
            return False
        else:
            revisions.add(key.modified)
    return len(revisions) <= 1


def refusal(asked: Operation, found: Sequence[KeyValue]) -> Conflict:
    """Why it was refused, by what was found."""
    there = {key.key: key for key in found}
    failed = [condition for condition in asked.conditions if not _holds(condition, there)]
    if any(condition.key == LEADER_KEY for condition in failed):
        return LeadershipLost("another manager leads the cluster")
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
    if key is None:
        return condition.revision == 0
    if isinstance(condition, Created):
        return key.created == condition.revision
    return key.modified == condition.revision
