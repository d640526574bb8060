"""A node's certificate with its key and the roots it trusts: in memory, on disk, and locked there.

Key and certificate share a file, so that a crash never leaves a certificate beside the key of
another.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

import trio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from services.cluster.ca.authority import key_pem
from services.cluster.ca.identity import Identity, identity_of, issuer_among, leaf_of
from services.cluster.ca.tokens import read_unlock_key
from services.errors import InvalidParameter, Unauthorized

ROOTS_FILE: Final = "swarm-root-ca.crt"
NODE_FILE: Final = "swarm-node.pem"
_BEGIN_CERTIFICATE: Final = "-----BEGIN CERTIFICATE-----"
_BEGIN_LOCKED: Final = "-----BEGIN ENCRYPTED PRIVATE KEY-----"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """All in PEM. `chain` begins with the node's certificate; `key` is never encrypted here."""

    chain: str
    key: str
    roots: str

    @property
    def identity(self) -> Identity:
        """Who they make a node. Raises Unauthorized when they are no node's."""
        return identity_of(leaf_of(self.chain))

    @property
    def issuer(self) -> str:
        """The `root_id` of the root that signed the certificate; "" if it trusts none such."""
        return issuer_among(leaf_of(self.chain), self.roots)

    def with_roots(self, roots: str) -> Credentials:
        """The same, trusting other roots."""
        return replace(self, roots=roots)

    def __repr__(self) -> str:
        return f"Credentials(of {self.identity})"  # the key stays out of logs


class HeldCredentials(Protocol):
    """A node's credentials, which change while it runs."""

    @property
    def credentials(self) -> Credentials:
        """As they are now."""

    @property
    def changed(self) -> trio.Event:
        """Set at the next change; there is another one then. Take it before you look."""


async def wait_renewed(held: HeldCredentials) -> None:
    """Block until there is another certificate than now. Other roots alone do not count."""
    chain = held.credentials.chain
    while held.credentials.chain == chain:
        await held.changed.wait()


class CredentialFiles:
    """The files of a node's credentials. Calls block on the disk; what they write is durable.

    While `unlock_key` is given, the key lies on disk encrypted with it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def is_locked(self) -> bool:
        """Whether the key on disk needs the unlock key. FileNotFoundError if there is none."""
        return _BEGIN_LOCKED in (self._folder / NODE_FILE).read_text()

    def load(self, unlock_key: str = "") -> Credentials | None:
        """What was saved; None before that. Raises InvalidParameter for a wrong unlock key."""
        try:
            node = (self._folder / NODE_FILE).read_text()
            roots = (self._folder / ROOTS_FILE).read_text()
        except FileNotFoundError:
            return None
        key, begin, rest = node.partition(_BEGIN_CERTIFICATE)
        return Credentials(chain=begin + rest, key=_unlocked(key, unlock_key), roots=roots)

    def save(self, credentials: Credentials, unlock_key: str = "") -> None:
        """Replace what is there."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Roots first: between the two writes the old certificate is trusted by its peers still, and
        # new roots include the old while there is a certificate of theirs.
        write_private(self._folder / ROOTS_FILE, credentials.roots.encode())
        key = _locked(credentials.key, unlock_key) if unlock_key else credentials.key
        write_private(self._folder / NODE_FILE, (key + credentials.chain).encode())

    def wipe(self) -> None:
        """Forget all: the node has left."""
        for name in (NODE_FILE, ROOTS_FILE):
            (self._folder / name).unlink(missing_ok=True)


def write_private(path: Path, data: bytes) -> None:
    """Replace `path`, readable to its owner alone; a crash leaves the old bytes or the new."""
    temporary = path.with_name(f".{path.name}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)  # or a power cut could undo the replacing
    finally:
        os.close(folder)


def _locked(pem: str, unlock_key: str) -> str:
    key = serialization.load_pem_private_key(pem.encode(), password=None)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(read_unlock_key(unlock_key).hex().encode()),
    ).decode()


def _unlocked(pem: str, unlock_key: str) -> str:
    if _BEGIN_LOCKED not in pem:
        return pem
    if not unlock_key:
        raise InvalidParameter("swarm could not be unlocked: no key provided")
    password = read_unlock_key(unlock_key).hex().encode()
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=password)
    except (ValueError, TypeError) as error:
        raise InvalidParameter("swarm could not be unlocked: invalid key provided") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Unauthorized("the node's key is not of the kind that a swarm gives")
    return key_pem(key)
