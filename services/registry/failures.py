"""Failed connections in dockerd's words: scripts look for "connection refused" and "x509"."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Iterator
from typing import Final

import httpx

from .errors import TlsRefused, Unreachable

_PLAIN_ANSWERS: Final = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG"}
)
_NO_WAY: Final = (errno.ENETUNREACH, errno.EHOSTUNREACH)
# OpenSSL's numbers of X509_V_ERR_...
_UNTRUSTED: Final = frozenset({2, 18, 19, 20, 21})
_EXPIRED: Final = frozenset({9, 10})
_OTHER_NAME: Final = frozenset({62, 64})


def unreachable(method: str, url: httpx.URL, error: Exception) -> Unreachable:
    """The error for a request that got no answer, or half of one."""
    shown = f'{method.capitalize()} "{url.copy_with(userinfo=b"", query=None)}"'
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return TlsRefused(f"{shown}: tls: failed to verify certificate: {_x509(cause, url)}")
        if isinstance(cause, ssl.SSLError):
            if cause.reason in _PLAIN_ANSWERS:
                return TlsRefused(f"{shown}: http: server gave HTTP response to HTTPS client")
            return TlsRefused(f"{shown}: remote error: tls: {_tls_reason(cause)}")
    return Unreachable(f"{shown}: {_reason(error, causes, url)}")


def _reason(error: Exception, causes: list[BaseException], url: httpx.URL) -> str:
    where = f"{url.host}:{url.port or (443 if url.scheme == 'https' else 80)}"
    for cause in causes:
        if isinstance(cause, ConnectionRefusedError):
            return f"dial tcp {where}: connect: connection refused"
        if isinstance(cause, socket.gaierror | UnicodeError):  # no name for a resolver at all
            return f"dial tcp: lookup {url.host}: no such host"
        if isinstance(cause, OSError) and cause.errno in _NO_WAY:
            return f"dial tcp {where}: connect: {os.strerror(cause.errno).lower()}"
    if isinstance(error, httpx.ConnectTimeout):
        return f"dial tcp {where}: i/o timeout"
    if isinstance(error, httpx.TimeoutException):
        return "net/http: request canceled (Client.Timeout exceeded while awaiting headers)"
    if isinstance(error, httpx.ProxyError):
        return f"proxyconnect tcp: {error}"
    if isinstance(error, httpx.RemoteProtocolError):
        return f"unexpected EOF ({error})"
    return str(error) or type(error).__name__


def _tls_reason(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).replace("_", " ").lower()


def _x509(error: ssl.SSLCertVerificationError, url: httpx.URL) -> str:
    if error.verify_code in _UNTRUSTED:
        return "x509: certificate signed by unknown authority"
    if error.verify_code in _EXPIRED:
        return "x509: certificate has expired or is not yet valid"
    if error.verify_code in _OTHER_NAME:
        return f"x509: certificate is not valid for {url.host}"
    return f"x509: {error.verify_message}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what led to it, the nearest first."""
    seen: set[int] = set()
    pending = [error]
    while pending:
        one = pending.pop(0)
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        if isinstance(one, BaseExceptionGroup):
            pending += one.exceptions
        pending += [one.__cause__, one.__context__]
