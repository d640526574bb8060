"""Who a certificate says that a node is, and when it is to be renewed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from services.errors import Unauthorized

# The organizational unit that stands for a role, as swarm spells it.
ROLE_UNITS: Final[Mapping[str, str]] = MappingProxyType(
    {"worker": "swarm-worker", "manager": "swarm-manager"}
)
_ROLE_OF_UNIT: Final = MappingProxyType({unit: role for role, unit in ROLE_UNITS.items()})

# A certificate is renewed at a random moment between these parts of its life (swarmkit's), so that
# nodes that joined together do not come together, and there is half a life for trying again.
RENEW_FROM: Final = 0.5
RENEW_UNTIL: Final = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A node as its certificate has it. `role` is worker or manager."""

    node_id: str
    role: str
    cluster_id: str


def identity_of(certificate: x509.Certificate) -> Identity:
    """Who it is for. Raises Unauthorized when it is not a node's certificate.

    It does not say whether the certificate is to be trusted: TLS has checked that.
    """
    found = {}
    for oid in (
        NameOID.COMMON_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.ORGANIZATION_NAME,
    ):  # fmt: skip
        values = certificate.subject.get_attributes_for_oid(oid)
        if len(values) != 1:
            raise Unauthorized("the certificate is not one of a swarm node")
        found[oid] = str(values[0].value)
    role = _ROLE_OF_UNIT.get(found[NameOID.ORGANIZATIONAL_UNIT_NAME])
    if role is None:
        raise Unauthorized("the certificate names no role in a swarm")
    return Identity(
        node_id=found[NameOID.COMMON_NAME],
        role=role,
        cluster_id=found[NameOID.ORGANIZATION_NAME],
    )


def leaf_of(chain_pem: str) -> x509.Certificate:
    """The first certificate of a chain. Raises Unauthorized for what is none."""
    try:
        return x509.load_pem_x509_certificate(chain_pem.encode())
    except ValueError as error:
        raise Unauthorized("not a certificate in PEM") from error


def renew_at(chain_pem: str, chance: float) -> datetime:
    """When to renew a certificate; `chance` (0 to 1) picks the moment in the allowed span."""
    leaf = leaf_of(chain_pem)
    life = leaf.not_valid_after_utc - leaf.not_valid_before_utc
    return leaf.not_valid_before_utc + life * (RENEW_FROM + (RENEW_UNTIL - RENEW_FROM) * chance)


def issuer_among(leaf: x509.Certificate, roots_pem: str) -> str:
    """The `root_id` of the one of `roots_pem` whose own signature a certificate bears; "" if it
    bears none of theirs."""
    for root in x509.load_pem_x509_certificates(roots_pem.encode()):
        try:
            leaf.verify_directly_issued_by(root)
        except (InvalidSignature, ValueError, TypeError):
            continue
        return _id_of_root(root)
    return ""


def root_id(root_pem: str) -> str:
    """What a node's record says of its issuer: SHA-256 of the root's key, as hexadecimal.

    Of the key, so that a root and its cross-signed form are one issuer.
    """
    return _id_of_root(x509.load_pem_x509_certificate(root_pem.encode()))


def _id_of_root(root: x509.Certificate) -> str:
    raw = root.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(raw).hexdigest()
