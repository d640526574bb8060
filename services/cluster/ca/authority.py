"""The cluster's certificate authority: makes roots, signs nodes' requests, replaces itself.

Source of the shapes: moby/swarmkit, ca/certificates.go: ECDSA P-256, a root of 20 years named
swarm-ca, nodes' names in CN, their role in OU, the cluster's id in O.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from services.cluster.ca.identity import ROLE_UNITS
from services.errors import InvalidParameter

ROOT_NAME: Final = "swarm-ca"
ROOT_VALID: Final = timedelta(days=7300)
# Clocks of nodes differ: a certificate is valid from an hour before it was made.
BACKDATED: Final = timedelta(hours=1)
_CURVE: Final = ec.SECP256R1()


def new_key() -> ec.EllipticCurvePrivateKey:
    """A private key of the kind that all in a cluster have."""
    return ec.generate_private_key(_CURVE)


def key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    """The key in PEM, not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def new_request(key: ec.EllipticCurvePrivateKey) -> str:
    """A signing request in PEM. Its subject is of no meaning: the authority decides who it is."""
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node")]))
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
        .decode()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whom a certificate is for. `addresses` are those that a manager's peers dial, in no form but
    bare IP; a worker is never dialled and gets none."""

    node_id: str
    role: str  # "worker" or "manager"
    cluster_id: str
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """A root that signs, in PEM. `cross_signed` is this root's key certified by the one before:
    it goes along with each certificate, so that who trusts only the old root trusts it too."""

    certificate: str
    key: str
    cross_signed: str = ""

    @classmethod
    def new(cls, now: datetime) -> Authority:
        """A fresh root."""
        key = new_key()
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ROOT_NAME)])
        certificate = _authority_builder(name, key.public_key(), now).issuer_name(name)
        signed = certificate.sign(key, hashes.SHA256())
        return cls(certificate=_pem(signed), key=key_pem(key))

    def issue(self, request: str, subject: Subject, now: datetime, valid: timedelta) -> str:
        """A node's certificate, and the cross-signed one after it, in PEM.

        Raises InvalidParameter for a request that is damaged, or is not signed by its own key.
        """
        public_key = _key_of_request(request)
        root = x509.load_pem_x509_certificate(self.certificate.encode())
        ends = min(now + valid, root.not_valid_after_utc)
        builder = _leaf_builder(subject, public_key, now, ends).issuer_name(root.subject)
        builder = builder.add_extension(_authority_key_id(root), critical=False)
        leaf = _pem(builder.sign(_load_key(self.key), hashes.SHA256()))
        return leaf + self.cross_signed

    def cross_sign(self, successor: Authority, now: datetime) -> Authority:
        """`successor` with its key certified by this root as well."""
        root = x509.load_pem_x509_certificate(self.certificate.encode())
        theirs = x509.load_pem_x509_certificate(successor.certificate.encode())
        public_key = theirs.public_key()
        if not isinstance(public_key, ec.EllipticCurvePublicKey):
            raise InvalidParameter("the new root certificate must have an ECDSA key")
        builder = _authority_builder(theirs.subject, public_key, now).issuer_name(root.subject)
        builder = builder.add_extension(_authority_key_id(root), critical=False)
        crossed = _pem(builder.sign(_load_key(self.key), hashes.SHA256()))
        return Authority(certificate=successor.certificate, key=successor.key, cross_signed=crossed)


def given_authority(certificate: str, key: str) -> Authority:
    """A root that the user brings. Raises InvalidParameter unless the two belong together."""
    try:
        root = x509.load_pem_x509_certificate(certificate.encode())
        public_key = _load_key(key).public_key()
        may_sign = root.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        root.verify_directly_issued_by(root)
    except (
        ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.ExtensionNotFound,
    ) as error:  # fmt: skip
        raise InvalidParameter(f"invalid CA certificate or key: {error}") from error
    if root.public_key() != public_key or not may_sign:
        raise InvalidParameter("the signing CA certificate and key do not belong together")
    return Authority(certificate=_pem(root), key=key)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _load_key(pem: str) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem.encode(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise InvalidParameter("the authority's key must be an ECDSA key")
    return key


def _key_of_request(pem: str) -> ec.EllipticCurvePublicKey:
    try:
        request = x509.load_pem_x509_csr(pem.encode())
        key = request.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidParameter("invalid certificate signing request") from error
    if not request.is_signature_valid or not isinstance(key, ec.EllipticCurvePublicKey):
        raise InvalidParameter("invalid certificate signing request")
    return key


def _authority_key_id(root: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    key = root.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)


def _authority_builder(
    name: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        _builder(name, key, now, now + ROOT_VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _leaf_builder(
    subject: Subject, key: ec.EllipticCurvePublicKey, now: datetime, ends: datetime
) -> x509.CertificateBuilder:
    unit = ROLE_UNITS[subject.role]
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, subject.cluster_id),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
            x509.NameAttribute(NameOID.COMMON_NAME, subject.node_id),
        ]
    )
    addresses = subject.addresses if subject.role == "manager" else ()
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    return (
        _builder(name, key, now, ends)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(_names((unit, subject.node_id), addresses), critical=False)
    )


def _names(hosts: Iterable[str], addresses: Iterable[str]) -> x509.SubjectAlternativeName:
    dns = [x509.DNSName(host) for host in hosts]
    try:
        ips = [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    except ValueError as error:
        raise InvalidParameter(f"invalid address for a manager: {error}") from error
    return x509.SubjectAlternativeName([*dns, *ips])


def _builder(
    name: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, ends: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(ends)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
