"""What is asked of etcd and what it answers, as values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KeyValue:
    """A key that is there. `lease` 0: under none."""

    key: str
    value: bytes
    created: int  # the revision at which it came to be
    modified: int  # the revision of its last change
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Deleted:
    """A key that has gone."""

    key: str
    modified: int  # the revision at which it went


@dataclass(frozen=True, slots=True)
class Modified:
    """Holds if the key was last changed at `revision`; 0: if there is no such key."""

    key: str
    revision: int


@dataclass(frozen=True, slots=True)
class Created:
    """Holds if the key, as it is now, came to be at `revision`; 0: if there is no such key."""

    key: str
    revision: int


@dataclass(frozen=True, slots=True)
class Exists:
    """Holds if there is such a key."""

    key: str


@dataclass(frozen=True, slots=True)
class NotSince:
    """Holds if the key was not changed after `revision`, or if there is none."""

    key: str
    revision: int


Condition = Modified | Created | Exists | NotSince


@dataclass(frozen=True, slots=True)
class PutKey:
    """Write a key."""

    key: str
    value: bytes
    lease: int = 0


@dataclass(frozen=True, slots=True)
class DeleteKey:
    """Take a key away; nothing happens if it is not there."""

    key: str


Write = PutKey | DeleteKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a transaction went. `found`, when a condition did not hold: its keys that are there."""

    is_done: bool
    revision: int
    found: Sequence[KeyValue] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """What a watch saw, whole up to `revision`: no later batch holds a change of one before it."""

    revision: int
    events: Sequence[KeyValue | Deleted]


@dataclass(frozen=True, slots=True)
class Page:
    """Keys of a prefix, in order, as they were at `revision`. `next_key` "": the last page."""

    revision: int
    keys: Sequence[KeyValue]
    next_key: str


@dataclass(frozen=True, slots=True)
class Member:
    """A member of the quorum. `name` is "" until it was started for the first time."""

    id: int
    name: str
    peer_urls: Sequence[str]
    is_learner: bool


@dataclass(frozen=True, slots=True)
class Status:
    """What a member says of itself. `leader` 0: it knows of none."""

    member_id: int
    leader: int
    is_learner: bool
    size_bytes: int
    raft_term: int
