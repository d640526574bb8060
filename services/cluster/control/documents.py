"""Secrets and configs: alike but for their size, and for who may read them.

Source: swarmkit, manager/controlapi (secret.go, config.go).
"""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

from msgspec.structs import replace

from services.cluster.control.changes import (
    at_version,
    change_any_version,
    commit,
    seen,
    touched,
)
from services.cluster.control.filters import Filters, begins, check_known, has_labels
from services.cluster.control.find import find
from services.cluster.control.names import check_document_name
from services.cluster.control.ports import ControlStore
from services.cluster.control.refusals import exists, invalid
from services.cluster.model.objects import Config, Secret, Service
from services.cluster.model.snapshot import Change, Delete, Put, Snapshot
from services.cluster.model.specs import ConfigSpec, SecretSpec
from services.cluster.model.wire import new_id, utc_now
from services.cluster.store.contract import NameTaken
from services.errors import Conflict, InvalidParameter, NotSupported

D = TypeVar("D", bound=Secret | Config)

SECRET_LIMIT: Final = 500 * 1024
CONFIG_LIMIT: Final = 1000 * 1024
"""Bytes, decoded; encoded it still fits into one request to etcd."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentKind(Generic[D]):
    """What tells the two kinds apart. `used` are the ids that a service's template names."""

    word: str
    limit_bytes: int
    make: Callable[[Any, str, datetime], D]
    of: Callable[[Snapshot], Mapping[str, D]]
    used: Callable[[Service], set[str]]


def secret_ids(service: Service) -> set[str]:
    """The secrets that a service's tasks get."""
    container = service.spec.task_template.container_spec
    return {one.secret_id for one in container.secrets} if container else set()


def config_ids(service: Service) -> set[str]:
    """The configs that a service's tasks get."""
    container = service.spec.task_template.container_spec
    return {one.config_id for one in container.configs} if container else set()


def _secret(spec: SecretSpec, id_: str, now: datetime) -> Secret:
    return Secret(id=id_, created_at=now, updated_at=now, spec=spec)


def _config(spec: ConfigSpec, id_: str, now: datetime) -> Config:
    return Config(id=id_, created_at=now, updated_at=now, spec=spec)


SECRETS: Final[DocumentKind[Secret]] = DocumentKind(
    word="secret", limit_bytes=SECRET_LIMIT, make=_secret, of=lambda s: s.secrets, used=secret_ids
)
CONFIGS: Final[DocumentKind[Config]] = DocumentKind(
    word="config", limit_bytes=CONFIG_LIMIT, make=_config, of=lambda s: s.configs, used=config_ids
)


class Documents(Generic[D]):
    """The secrets, or the configs. What is returned of a secret still has its data."""

    def __init__(self, store: ControlStore, kind: DocumentKind[D]) -> None:
        self._store = store
        self._kind = kind

    def list(self, filters: Filters) -> Sequence[D]:
        """Those with one of the names, beginnings of names or of ids, and every label; by age.

        Raises:
            InvalidParameter: an unknown filter.
        """
        check_known(filters, "names", "name", "id", "label")
        exact, names, ids = (filters.get(word, ()) for word in ("names", "name", "id"))
        anything = not (exact or names or ids)
        chosen = [
            one
            for one in self._kind.of(self._store.snapshot()).values()
            if anything
            or one.name in exact
            or (names and begins(one.name, names))
            or (ids and begins(one.id, ids))
        ]
        chosen = [one for one in chosen if has_labels(one.spec.labels, filters.get("label", ()))]
        return sorted(chosen, key=lambda one: (one.created_at, one.id))

    def get(self, ref: str) -> D:
        """By id, name or beginning of its id. Raises NotFound, or InvalidParameter of several."""
        return find(self._kind.word, self._kind.of(self._store.snapshot()), ref)

    async def create(self, spec: SecretSpec | ConfigSpec) -> D:
        """Keep a new one.

        Raises:
            InvalidParameter: name or data are no good.
            Conflict: the name is taken.
        """
        check_document_name(spec.name)
        self._check_data(spec)
        document = self._kind.make(spec, new_id(), utc_now())
        if any(one.name == spec.name for one in self._kind.of(self._store.snapshot()).values()):
            raise self._taken(spec.name)
        try:
            await commit(self._store, Put(document))
        except NameTaken as error:
            raise self._taken(spec.name) from error
        return document

    async def update(self, ref: str, version: int, spec: SecretSpec | ConfigSpec) -> None:
        """Change its labels, which is all that can be changed.

        Raises:
            NotFound: there is none.
            InvalidParameter: something else would change.
            OutOfSequence: it is of another version.
        """
        snapshot = await seen(self._store, version)
        found = find(self._kind.word, self._kind.of(snapshot), ref)
        is_same = not spec.data or hmac.compare_digest(_bytes(spec.data), _bytes(found.spec.data))
        if spec.name != found.name or not is_same:
            raise invalid("only updates to Labels are allowed")
        relabelled = replace(found.spec, labels=spec.labels)
        await commit(
            self._store, Put(touched(replace(at_version(found, version), spec=relabelled)))
        )

    async def remove(self, ref: str) -> None:
        """Forget it.

        Raises:
            NotFound: there is none.
            InvalidParameter: services use it.
        """

        def decide(snapshot: Snapshot) -> Sequence[Change]:
            found = find(self._kind.word, self._kind.of(snapshot), ref)
            users = [
                one.name for one in snapshot.services.values() if found.id in self._kind.used(one)
            ]
            if users:
                word = "service" if len(users) == 1 else "services"
                raise invalid(
                    f"{self._kind.word} '{found.name}' is in use by the following {word}: "
                    f"{', '.join(sorted(users))}"
                )
            return (Delete(found),)

        await change_any_version(self._store, decide)

    def _taken(self, name: str) -> Conflict:
        return exists(f"{self._kind.word} {name} already exists")

    def _check_data(self, spec: SecretSpec | ConfigSpec) -> None:
        if isinstance(spec, SecretSpec) and spec.driver is not None:
            raise NotSupported("secret drivers are plugins, which are not supported")
        size, limit = len(_bytes(spec.data)), self._kind.limit_bytes
        if not 0 < size < limit:
            raise invalid(
                f"{self._kind.word} data must be larger than 0 and less than {limit} bytes"
            )


def _bytes(text: str) -> bytes:
    """What base64 stands for. Raises InvalidParameter."""
    try:
        return b64decode(text, validate=True)
    except binascii.Error as error:
        raise InvalidParameter("invalid JSON: illegal base64 data") from error
