"""Which servers we believe: those that Docker's own programs, written in Go, would."""

from __future__ import annotations

import ssl


def client_context(ca_file: str = "") -> ssl.SSLContext:
    """A context that verifies servers by the system's authorities, or by those of `ca_file` alone.

    From Python 3.13 on the default one also refuses an authority that does not say what its key is
    for, as `openssl req -x509` makes them, and takes a certificate of the file as an authority
    although another has signed it. Go does not the first and does the second, and so do we with
    any Python. Reads files, and belongs into a thread. Raises OSError and ssl.SSLError.

    Source: Python, "What's new in 3.13", ssl; Go, crypto/x509/verify.go (Certificate.Verify).
    """
    context = ssl.create_default_context(cafile=ca_file or None)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context
