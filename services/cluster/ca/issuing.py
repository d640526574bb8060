"""Which authority signs now, for whom, and what nodes are to trust: functions of the cluster.

While the root is replaced there are two: the next one signs, certified by the old one, and nodes
trust both. Once every node has a certificate of the next root, the old one goes.
"""

from __future__ import annotations

import base64
from datetime import datetime, timedelta

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from services.cluster.ca.authority import Authority, Subject, given_authority
from services.cluster.ca.identity import root_id
from services.cluster.ca.tokens import make_token, new_join_secret
from services.cluster.model.objects import Cluster, JoinTokens, RootCa
from services.cluster.model.swarm_spec import CaConfig
from services.cluster.model.wire import Wire


class TlsInfo(Wire, frozen=True, kw_only=True):
    """Whom a node's peers trust (Engine API, schema TLSInfo): PEM, and base64 of DER."""

    trust_root: str = ""
    cert_issuer_subject: str = ""
    cert_issuer_public_key: str = ""


def new_root_ca(authority: Authority) -> RootCa:
    """The authority of a new cluster, with tokens."""
    tokens = JoinTokens(worker=new_join_secret(), manager=new_join_secret())
    return RootCa(certificate=authority.certificate, key=authority.key, join_tokens=tokens)


def is_rotating(root: RootCa) -> bool:
    """Whether the root is being replaced."""
    return bool(root.next_certificate)


def signing_authority(root: RootCa) -> Authority:
    """Who signs new certificates."""
    if is_rotating(root):
        return Authority(
            certificate=root.next_certificate, key=root.next_key, cross_signed=root.cross_signed
        )
    return Authority(certificate=root.certificate, key=root.key)


def trusted_roots(root: RootCa) -> str:
    """What nodes are to trust, in PEM."""
    return root.certificate + root.next_certificate


def issuer_id(root: RootCa) -> str:
    """What `Node.certificate_issuer` is for a certificate that is signed now."""
    return root_id(signing_authority(root).certificate)


def issue(cluster: Cluster, request: str, subject: Subject, now: datetime) -> str:
    """A certificate chain in PEM for a signing request. Raises InvalidParameter."""
    valid = timedelta(microseconds=cluster.spec.ca_config.node_cert_expiry / 1000)
    return signing_authority(cluster.root_ca).issue(request, subject, now, valid)


def join_tokens(root: RootCa) -> JoinTokens:
    """The tokens as users see them. They pin the root that signs at present's end: the next one
    only once it is the only one, since nodes show the old one until then."""
    return JoinTokens(
        worker=make_token(root.certificate, root.join_tokens.worker),
        manager=make_token(root.certificate, root.join_tokens.manager),
    )


def with_new_tokens(root: RootCa, *, worker: bool = False, manager: bool = False) -> RootCa:
    """Tokens of these roles made anew; the old ones admit nobody any more."""
    tokens = root.join_tokens
    return msgspec.structs.replace(
        root,
        join_tokens=JoinTokens(
            worker=new_join_secret() if worker else tokens.worker,
            manager=new_join_secret() if manager else tokens.manager,
        ),
    )


def begun_rotation(root: RootCa, wanted: CaConfig, now: datetime) -> RootCa:
    """The root on its way to being replaced, if `wanted` asks for that; else as it is.

    A user's own root is `signing_ca_cert` with `signing_ca_key`; a `force_rotate` that has grown
    asks for a fresh one. What was on its way before is given up for it. Raises InvalidParameter.
    """
    current = Authority(certificate=root.certificate, key=root.key)
    if wanted.signing_ca_cert and wanted.signing_ca_key:
        successor = given_authority(wanted.signing_ca_cert, wanted.signing_ca_key)
        if successor.certificate.strip() in (
            root.certificate.strip(), root.next_certificate.strip(),
        ):  # fmt: skip
            return msgspec.structs.replace(root, last_forced_rotation=wanted.force_rotate)
    elif wanted.force_rotate != root.last_forced_rotation:
        successor = Authority.new(now)
    else:
        return root
    crossed = current.cross_sign(successor, now)
    return msgspec.structs.replace(
        root,
        next_certificate=crossed.certificate,
        next_key=crossed.key,
        cross_signed=crossed.cross_signed,
        last_forced_rotation=wanted.force_rotate,
    )


def ended_rotation(root: RootCa) -> RootCa:
    """The next root as the only one, with tokens made anew, as swarmkit makes them."""
    return RootCa(
        certificate=root.next_certificate,
        key=root.next_key,
        join_tokens=JoinTokens(worker=new_join_secret(), manager=new_join_secret()),
        last_forced_rotation=root.last_forced_rotation,
    )


def tls_info(root_certificate: str) -> TlsInfo:
    """As nodes and the cluster show it."""
    root = x509.load_pem_x509_certificate(root_certificate.encode())
    public_key = root.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return TlsInfo(
        trust_root=root_certificate,
        cert_issuer_subject=base64.b64encode(root.subject.public_bytes()).decode(),
        cert_issuer_public_key=base64.b64encode(public_key).decode(),
    )
