"""TLS for TCP listeners: what dockerd's --tls flags mean to Python's ssl."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: ephemeral keys, authenticated encryption. Source: docker/go-connections, tlsconfig;
1.3 has nothing else."""


class TLSError(Exception):
    """The certificates cannot be used; the daemon does not start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSConfig:
    """The --tls flags. `verify` demands a client certificate signed by `ca_cert` (--tlsverify)."""

    cert: Path
    key: Path
    ca_cert: Path | None = None
    verify: bool = False


def server_context(config: TLSConfig) -> ssl.SSLContext:
    """A server's context: TLS 1.2 or later, HTTP/2 offered. Reads files: call it before serving.

    Raises:
        TLSError: a file is missing or is not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        context.load_cert_chain(config.cert, config.key)
    except (OSError, ssl.SSLError) as error:
        raise TLSError(
            f'could not load X509 key pair (cert: "{config.cert}", key: "{config.key}"): {error}'
        ) from error
    if config.verify:
        _demand_client_certificate(context, config.ca_cert)
    return context


def _demand_client_certificate(context: ssl.SSLContext, ca_cert: Path | None) -> None:
    if ca_cert is None:
        raise TLSError("client certificates cannot be verified without a CA: set --tlscacert")
    try:
        context.load_verify_locations(cafile=ca_cert)
    except (OSError, ssl.SSLError) as error:
        raise TLSError(f'could not read CA certificate "{ca_cert}": {error}') from error
    context.verify_mode = ssl.CERT_REQUIRED
