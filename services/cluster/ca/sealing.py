"""What is sealed before it goes into the store, and with what.

One data key a cluster, which every manager holds. On a manager's disk it lies bare, or, when
managers lock themselves, wrapped with the unlock key: locking and unlocking rewrite that one file
and nothing in the store.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from services.cluster.ca.tokens import read_unlock_key
from services.cluster.model.objects import Cluster, Secret, Service, StoredT, Task
from services.cluster.model.specs import ServiceSpec
from services.cluster.model.task_spec import TaskSpec
from services.errors import EngineError, InvalidParameter

T = TypeVar("T", bound=msgspec.Struct)

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_REPEATABLE_MARK: Final = "sealed:siv1:"
_CREDENTIALS: Final = "registry credentials"
_MARK: Final = "sealed:1:"  # base64 follows; no plain value of ours begins so


class Unreadable(EngineError):
    """A sealed value was made with another key, for another place, or was changed."""


def new_data_key() -> bytes:
    """A cluster's data key: 256 random bits."""
    return AESGCM.generate_key(KEY_BYTES * 8)


class Sealer:
    """AES-256-GCM with one key. `place` is bound in: a value moved elsewhere does not open.

    A nonce is 96 random bits: safe for 2^32 values under one key.
    """

    def __init__(self, data_key: bytes) -> None:
        self._cipher = AESGCM(data_key)
        derived = HKDF(SHA256(), KEY_BYTES * 2, None, b"wharfinger: repeatable").derive(data_key)
        self._repeatable = AESSIV(derived)

    def seal(self, plain: bytes, place: str = "") -> bytes:
        """The sealed form, 28 bytes longer."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, place.encode())

    def open(self, sealed: bytes, place: str = "") -> bytes:
        """The plain bytes again. Raises Unreadable."""
        try:
            return self._cipher.decrypt(
                sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], place.encode()
            )
        except (InvalidTag, ValueError) as error:
            raise Unreadable(f"{place} cannot be opened with this manager's key") from error

    def seal_text(self, plain: str, place: str) -> str:
        """As `seal`, text from text; "" stays "", for nothing."""
        if not plain:
            return ""
        return _MARK + base64.b64encode(self.seal(plain.encode(), place)).decode()

    def open_text(self, sealed: str, place: str) -> str:
        """The text again. Raises Unreadable, also for what was never sealed."""
        if not sealed:
            return ""
        if not sealed.startswith(_MARK):
            raise Unreadable(f"{place} is not sealed")
        try:
            raw = base64.b64decode(sealed.removeprefix(_MARK), validate=True)
        except binascii.Error as error:
            raise Unreadable(f"{place} is damaged") from error
        return self.open(raw, place).decode()

    def seal_repeatably(self, plain: str, place: str) -> str:
        """As `seal_text`, the same each time: whoever sees two of them sees whether they are one.

        For what many objects have alike, and share for it.
        """
        if not plain:
            return ""
        sealed = self._repeatable.encrypt(plain.encode(), [place.encode()])
        return _REPEATABLE_MARK + base64.b64encode(sealed).decode()

    def open_repeatable(self, sealed: str, place: str) -> str:
        """The text again. Raises Unreadable, also for what was never sealed."""
        if not sealed:
            return ""
        if not sealed.startswith(_REPEATABLE_MARK):
            raise Unreadable(f"{place}: not sealed")
        try:
            raw = base64.b64decode(sealed.removeprefix(_REPEATABLE_MARK), validate=True)
            return self._repeatable.decrypt(raw, [place.encode()]).decode()
        except (InvalidTag, ValueError) as error:
            raise Unreadable(f"{place} cannot be opened with this manager's key") from error


class ObjectSealer:
    """Objects as the store keeps them: secrets' data, the authority's and the networks' keys, the
    unlock key, the tokens and credentials for registries sealed, the rest as it is."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def seal(self, stored: StoredT) -> StoredT:
        """For writing."""
        if isinstance(stored, Service | Task):
            return _with_credentials(stored, self._sealer.seal_repeatably)
        return _with_sealed_parts(stored, self._sealer.seal_text)

    def open(self, stored: StoredT) -> StoredT:
        """After reading. Raises Unreadable."""
        if isinstance(stored, Service | Task):
            return _with_credentials(stored, self._sealer.open_repeatable)
        return _with_sealed_parts(stored, self._sealer.open_text)


def wrap_data_key(data_key: bytes, unlock_key: str) -> str:
    """The data key as it lies on a locked manager's disk."""
    return Sealer(read_unlock_key(unlock_key)).seal_text(data_key.hex(), "data key")


def unwrap_data_key(wrapped: str, unlock_key: str) -> bytes:
    """The data key again. Raises InvalidParameter in dockerd's words when the key is wrong."""
    try:
        return bytes.fromhex(Sealer(read_unlock_key(unlock_key)).open_text(wrapped, "data key"))
    except Unreadable as error:
        raise InvalidParameter("swarm could not be unlocked: invalid key provided") from error


def _with_sealed_parts(stored: StoredT, turn: Callable[[str, str], str]) -> StoredT:
    """A copy in which each text that must not be read has been turned, bound to its place."""
    where = f"{stored.kind}/{stored.id}"

    def turned(struct: T, *fields: str) -> T:
        changed = {field: turn(getattr(struct, field), f"{where}/{field}") for field in fields}
        return msgspec.structs.replace(struct, **changed)

    match stored:
        case Secret():
            return msgspec.structs.replace(stored, spec=turned(stored.spec, "data"))
        case Cluster():
            root = turned(stored.root_ca, "key", "next_key")
            tokens = turned(root.join_tokens, "worker", "manager")
            root = msgspec.structs.replace(root, join_tokens=tokens)
            place = f"{where}/network_keys"
            keys = [
                msgspec.structs.replace(one, key=turn(one.key, f"{place}/{one.number}"))
                for one in stored.network_keys
            ]
            return msgspec.structs.replace(
                turned(stored, "unlock_key"), root_ca=root, network_keys=keys
            )
        case _:
            return stored


def _with_credentials(stored: StoredT, turn: Callable[[str, str], str]) -> StoredT:
    """A copy of a service or a task whose credentials for registries have been turned.

    Their place is the same in all of them: a service's tasks share its spec, in memory too.
    """

    def turned(spec: TaskSpec) -> TaskSpec:
        container = spec.container_spec
        if container is None or not container.registry_auth:
            return spec
        auth = turn(container.registry_auth, _CREDENTIALS)
        container = msgspec.structs.replace(container, registry_auth=auth)
        return msgspec.structs.replace(spec, container_spec=container)

    def turned_service(spec: ServiceSpec) -> ServiceSpec:
        return msgspec.structs.replace(spec, task_template=turned(spec.task_template))

    match stored:
        case Task():
            spec = turned(stored.spec)
            return stored if spec is stored.spec else msgspec.structs.replace(stored, spec=spec)
        case Service():
            before = stored.previous_spec
            return msgspec.structs.replace(
                stored,
                spec=turned_service(stored.spec),
                previous_spec=None if before is None else turned_service(before),
            )
        case _:
            return stored
