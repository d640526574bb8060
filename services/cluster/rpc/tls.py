"""TLS between nodes: each shows its certificate, and trusts what the cluster's root has signed.

A context is made of credentials in memory: no file of a locked manager's key is ever written.
"""

from __future__ import annotations

import os
import ssl
from typing import Final

from services.cluster.ca.credentials import Credentials
from services.cluster.ca.identity import ROLE_UNITS

# What clients expect of a server's certificate: it is not dialled by one name, but is a manager.
MANAGER_HOST: Final = ROLE_UNITS["manager"]
_ALPN: Final = ["h2"]


def server_context(credentials: Credentials) -> ssl.SSLContext:
    """For the swarm port. A client may come without a certificate: it can only join then.

    One that is shown is checked; which RPC needs one is the role table's to say.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, credentials.roots)
    context.verify_mode = ssl.CERT_OPTIONAL
    _show(context, credentials)
    return context


def client_context(credentials: Credentials) -> ssl.SSLContext:
    """For calling managers with this node's certificate. Connect with MANAGER_HOST as the name."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT, credentials.roots)
    _show(context, credentials)
    return context


def joining_context(roots: str) -> ssl.SSLContext:
    """For a node that has no certificate yet, once it knows its cluster's root."""
    return _context(ssl.PROTOCOL_TLS_CLIENT, roots)


def unchecked_context() -> ssl.SSLContext:
    """For asking for the root, which the join token's digest checks. For nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(_ALPN)
    return context


def _context(protocol: ssl._SSLMethod, roots: str) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(_ALPN)
    context.load_verify_locations(cadata=roots)
    return context


def _show(context: ssl.SSLContext, credentials: Credentials) -> None:
    # OpenSSL reads keys from files only; this one lives in memory and has no name.
    descriptor = os.memfd_create("swarm-node", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write((credentials.key + credentials.chain).encode())
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
