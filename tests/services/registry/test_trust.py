"""services.registry.trust: whom to trust of a registry."""

from __future__ import annotations

import ssl

from services.registry.trust import tls_context


def test_authorities_are_read_only_where_certificates_are_looked_at() -> None:
    """They are 20 ms of each pull, and an insecure registry's are not asked for."""
    insecure = tls_context("127.0.0.1:5000", verify=False, certs_dirs=())
    assert insecure.cert_store_stats()["x509_ca"] == 0
    assert (insecure.verify_mode, insecure.check_hostname) == (ssl.CERT_NONE, False)
    secure = tls_context("registry.example", verify=True, certs_dirs=())
    assert (secure.verify_mode, secure.check_hostname) == (ssl.CERT_REQUIRED, True)
