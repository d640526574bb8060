"""What a client of ours takes for a good certificate, with any Python."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from services.system.tls import client_context
from tests.support.certificates import make_certificates


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def shake_hands(certificates: Path, authority: str) -> None:
    """A client that knows `authority` and a server that `ca.pem` vouches for, in memory."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(
        certificates / "server-cert.pem", certificates / "server-key.pem"
    )
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    client = client_context(str(certificates / authority)).wrap_bio(
        to_client, to_server, server_hostname="127.0.0.1"
    )
    open_ends = [client, server]
    while open_ends:
        end = open_ends.pop(0)
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            open_ends.append(end)


def test_an_authority_need_not_say_what_its_key_is_for(certificates: Path) -> None:
    """As `openssl req -x509` makes it; Python's own default refuses it from 3.13 on."""
    shake_hands(certificates, "ca.pem")


def test_a_certificate_can_be_its_own_authority(certificates: Path) -> None:
    """The one that a server has, put into the file of authorities."""
    shake_hands(certificates, "server-cert.pem")


def test_a_stranger_is_refused(certificates: Path) -> None:
    """Whom the authority did not sign."""
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(certificates, "other.pem")
