"""How objects lie in etcd: their keys, and JSON under them.

`/wharfinger/<kind>/<id>` holds an object, `/wharfinger/name/<kind>/<name>` the id of the one that
has the name, `/wharfinger/leader` the node id of the leader. `/wharfinger/use/<kind>/<id>` is
written by whoever begins to name an object: only its revision matters. A manager that is there
has `/wharfinger/manager/<node id>`, under a lease.
"""

from __future__ import annotations

import sys
from typing import Final, TypeVar

import msgspec

from services import typed_json
from services.cluster.model.objects import (
    KINDS,
    ClusterNetwork,
    Config,
    Endpoint,
    Secret,
    Service,
    Session,
    Stored,
    StoredT,
    Task,
)
from services.cluster.model.task_spec import TaskSpec

from .contract import Sealer

T = TypeVar("T")

ROOT: Final = "/wharfinger/"
LEADER_KEY: Final = f"{ROOT}leader"
_NAMES: Final = f"{ROOT}name/"
_MANAGERS: Final = f"{ROOT}manager/"
_USES: Final = f"{ROOT}use/"

NAMED: Final[tuple[type[Stored], ...]] = (Service, ClusterNetwork, Secret, Config)
"""The kinds whose names are unique."""

_INTERNED: Final = 4096  # distinct templates of tasks that are shared; a service has about two

STORED: Final[tuple[type[Stored], ...]] = (*KINDS, Session)

_BY_KIND: Final = {cls.kind: cls for cls in STORED}


def key_of(stored: Stored) -> str:
    """Where an object lies."""
    return f"{ROOT}{stored.kind}/{stored.id}"


def name_key_of(kind: str, name: str) -> str:
    """Where the id of who has a name lies."""
    return f"{_NAMES}{kind}/{name}"


def use_key_of(stored: Stored) -> str:
    """What is written when something begins to name the object."""
    return f"{_USES}{stored.kind}/{stored.id}"


def manager_key_of(node_id: str) -> str:
    """What is there as long as a manager is."""
    return f"{_MANAGERS}{node_id}"


def manager_of_key(key: str) -> str | None:
    """Whose key it is; None for a key of another sort."""
    return key.removeprefix(_MANAGERS) if key.startswith(_MANAGERS) else None


def kind_and_id(key: str) -> tuple[str, str] | None:
    """What object a key is of; None for a key that is of none."""
    kind, _, id = key.removeprefix(ROOT).partition("/")
    return (kind, id) if kind in _BY_KIND else None


def name_of_key(key: str) -> tuple[str, str] | None:
    """The kind and the name that a key takes; None for a key of another sort."""
    if not key.startswith(_NAMES):
        return None
    kind, _, name = key.removeprefix(_NAMES).partition("/")
    return kind, name


class _SharedParts(msgspec.Struct):
    """What many tasks have alike, as it was written; the fields are named as in `Task`."""

    spec: msgspec.Raw = msgspec.Raw()
    endpoint: msgspec.Raw = msgspec.Raw()
    service_labels: msgspec.Raw = msgspec.Raw()


class Codec:
    """Objects to bytes and back. Tasks of one template share it: 100,000 would not fit else."""

    def __init__(self, sealer: Sealer | None = None) -> None:
        self._sealer = sealer
        self._encoder = msgspec.json.Encoder()
        self._decoders = {kind: typed_json.decoder(cls) for kind, cls in _BY_KIND.items()}
        self._shared = typed_json.decoder(_SharedParts)
        self._specs: dict[bytes, TaskSpec] = {}
        self._endpoints: dict[bytes, Endpoint | None] = {}
        self._labels: dict[bytes, dict[str, str]] = {}

    def encode(self, stored: Stored) -> bytes:
        """What is written; the version is not part of it."""
        if self._sealer is not None:
            stored = self._sealer.seal(stored)
        return self._encoder.encode(with_version(stored, 0))

    def is_same(self, one: Stored, other: Stored) -> bool:
        """Whether two objects are alike in all but their versions."""
        plain = self._encoder.encode
        return plain(with_version(one, 0)) == plain(with_version(other, 0))

    def decode(self, kind: str, data: bytes, version: int) -> Stored:
        """The object, which bears its version. Raises msgspec.DecodeError, EngineError."""
        stored: Stored = self._decoders[kind].decode(data)
        if self._sealer is not None:
            stored = self._sealer.open(stored)
        if isinstance(stored, Task):
            return self._slimmed(stored, data, version)
        return with_version(stored, version)

    def _slimmed(self, task: Task, data: bytes, version: int) -> Task:
        raw = self._shared.decode(data)
        return msgspec.structs.replace(
            task,
            version=version,
            service_id=sys.intern(task.service_id),
            service_name=sys.intern(task.service_name),
            node_id=sys.intern(task.node_id),
            spec=_interned(self._specs, raw.spec, task.spec),
            endpoint=_interned(self._endpoints, raw.endpoint, task.endpoint),
            service_labels=_interned(self._labels, raw.service_labels, task.service_labels),
        )


def with_version(stored: StoredT, version: int) -> StoredT:
    """The same object with another version."""
    return msgspec.structs.replace(stored, version=version)


def _interned(known: dict[bytes, T], raw: msgspec.Raw, value: T) -> T:
    if len(known) > _INTERNED:
        known.clear()
    return known.setdefault(bytes(raw), value)
