"""Who signs the nodes' certificates, on the wire.

Source: Engine API, schema TLSInfo.
"""

from __future__ import annotations

from base64 import b64encode
from functools import lru_cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def tls_info_to_wire(root: str) -> dict[str, Any]:
    """The trust root (PEM), its subject and its public key; nothing of a root that is none yet."""
    return dict(_parts(root)) if root else {}


@lru_cache(maxsize=4)  # of a pure function; there are two roots at most, and a list asks for each
def _parts(root: str) -> tuple[tuple[str, str], ...]:
    certificate = x509.load_pem_x509_certificates(root.encode())[0]
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return (
        ("TrustRoot", root),
        ("CertIssuerSubject", b64encode(certificate.subject.public_bytes()).decode()),
        ("CertIssuerPublicKey", b64encode(key).decode()),
    )
