"""Certificates: who they say somebody is, and who trusts them, by real TLS handshakes in memory."""

from __future__ import annotations

import ssl
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from services.cluster.ca.authority import (
    Authority,
    Subject,
    given_authority,
    key_pem,
    new_key,
    new_request,
)
from services.cluster.ca.credentials import NODE_FILE, CredentialFiles, Credentials
from services.cluster.ca.identity import Identity, leaf_of, renew_at, root_id
from services.cluster.ca.issuing import (
    begun_rotation,
    ended_rotation,
    issuer_id,
    join_tokens,
    new_root_ca,
    signing_authority,
    trusted_roots,
)
from services.cluster.ca.tokens import new_unlock_key, read_token
from services.cluster.model.objects import RootCa
from services.cluster.model.swarm_spec import CaConfig
from services.cluster.model.wire import utc_now
from services.cluster.rpc.tls import client_context, server_context
from services.errors import InvalidParameter

NOW = utc_now()
DAYS_90 = timedelta(days=90)


def credentials(root: RootCa, role: str, node_id: str = "node1") -> Credentials:
    """What a node gets of this root now."""
    key = new_key()
    subject = Subject(node_id=node_id, role=role, cluster_id="cluster1")
    chain = signing_authority(root).issue(new_request(key), subject, NOW, DAYS_90)
    return Credentials(chain=chain, key=key_pem(key), roots=trusted_roots(root))


def shake_hands(server: Credentials, client: Credentials) -> None:
    """Raises ssl.SSLError unless each trusts the other."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client_context(client).wrap_bio(to_client, to_server, server_hostname="swarm-manager"),
        server_context(server).wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(6):
        for end in ends:
            try:
                end.do_handshake()
                end.read(1)
            except ssl.SSLWantReadError:
                pass
    assert ends[1].getpeercert()


def test_a_certificate_says_what_the_authority_was_told() -> None:
    """The request's own subject is of no meaning."""
    root = new_root_ca(Authority.new(NOW))
    given = credentials(root, "worker")
    assert given.identity == Identity(node_id="node1", role="worker", cluster_id="cluster1")
    assert given.issuer == root_id(root.certificate)
    assert "PRIVATE" not in repr(given)


def test_nodes_of_one_root_trust_each_other() -> None:
    """A worker is a client of a manager."""
    root = new_root_ca(Authority.new(NOW))
    shake_hands(credentials(root, "manager"), credentials(root, "worker"))


def test_a_worker_cannot_pass_for_a_manager() -> None:
    """A stolen worker certificate that answers on a manager's address is refused by clients."""
    root = new_root_ca(Authority.new(NOW))
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(credentials(root, "worker"), credentials(root, "worker"))


def test_a_strangers_certificate_is_refused() -> None:
    """Of another cluster's root, of the same names."""
    ours, theirs = new_root_ca(Authority.new(NOW)), new_root_ca(Authority.new(NOW))
    stranger = credentials(theirs, "worker").with_roots(ours.certificate)
    with pytest.raises(ssl.SSLError):
        shake_hands(credentials(ours, "manager"), stranger)


def test_while_the_root_is_replaced_old_and_new_nodes_trust_each_other() -> None:
    """A node that knows of nothing yet, one that has renewed, and one after the end."""
    before = new_root_ca(Authority.new(NOW))
    during = begun_rotation(before, CaConfig(force_rotate=1), NOW)
    after = ended_rotation(during)
    old_manager, old_worker = credentials(before, "manager"), credentials(before, "worker")
    new_manager, new_worker = credentials(during, "manager"), credentials(during, "worker")
    informed = trusted_roots(during)
    shake_hands(new_manager, old_worker)
    shake_hands(old_manager, new_worker)
    shake_hands(old_manager.with_roots(informed), new_worker)
    shake_hands(new_manager, old_worker.with_roots(informed))
    final_manager, final_worker = credentials(after, "manager"), credentials(after, "worker")
    shake_hands(final_manager, new_worker.with_roots(trusted_roots(after)))
    shake_hands(new_manager.with_roots(trusted_roots(after)), final_worker)
    with pytest.raises(ssl.SSLError):
        shake_hands(final_manager, old_worker.with_roots(trusted_roots(after)))


def test_tokens_pin_the_old_root_until_the_end() -> None:
    """New ones are made then, and the old ones admit nobody."""
    before = new_root_ca(Authority.new(NOW))
    during = begun_rotation(before, CaConfig(force_rotate=1), NOW)
    after = ended_rotation(during)
    assert join_tokens(during) == join_tokens(before)
    assert issuer_id(during) != issuer_id(before)
    assert issuer_id(during) == issuer_id(after)
    assert read_token(join_tokens(after).worker).pins(during.next_certificate)
    assert after.join_tokens != before.join_tokens


def test_a_rotation_is_asked_for_once() -> None:
    """The same number again changes nothing; a user's own root is taken as it is."""
    root = new_root_ca(Authority.new(NOW))
    during = begun_rotation(root, CaConfig(force_rotate=1), NOW)
    assert begun_rotation(during, CaConfig(force_rotate=1), NOW) == during
    assert begun_rotation(root, CaConfig(), NOW) == root
    own = Authority.new(NOW)
    wanted = CaConfig(signing_ca_cert=own.certificate, signing_ca_key=own.key)
    assert begun_rotation(root, wanted, NOW).next_certificate == own.certificate


def test_a_users_root_must_fit_its_key() -> None:
    """And be a certificate at all."""
    one, other = Authority.new(NOW), Authority.new(NOW)
    with pytest.raises(InvalidParameter):
        given_authority(one.certificate, other.key)
    with pytest.raises(InvalidParameter):
        given_authority("no PEM", one.key)


def test_what_is_no_request_gets_no_certificate() -> None:
    """Damaged PEM."""
    subject = Subject(node_id="n", role="worker", cluster_id="c")
    with pytest.raises(InvalidParameter, match="certificate signing request"):
        Authority.new(NOW).issue("no PEM", subject, NOW, DAYS_90)


def test_renewal_comes_in_the_second_half_of_a_certificates_life() -> None:
    """At a moment that chance picks."""
    chain = credentials(new_root_ca(Authority.new(NOW)), "worker").chain
    leaf = leaf_of(chain)
    life = leaf.not_valid_after_utc - leaf.not_valid_before_utc
    assert renew_at(chain, 0.0) == leaf.not_valid_before_utc + life * 0.5
    assert renew_at(chain, 1.0) < leaf.not_valid_after_utc


def test_credentials_come_back_from_disk(tmp_path: Path) -> None:
    """Nobody but their owner may read them."""
    files, given = (
        CredentialFiles(tmp_path / "c"),
        credentials(new_root_ca(Authority.new(NOW)), "worker"),
    )
    assert files.load() is None
    files.save(given)
    assert files.load() == given
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "c").iterdir()} == {0o600}
    files.wipe()
    assert files.load() is None


def test_locked_credentials_need_the_unlock_key(tmp_path: Path) -> None:
    """The key does not lie on disk."""
    files, unlock_key = CredentialFiles(tmp_path), new_unlock_key()
    given = credentials(new_root_ca(Authority.new(NOW)), "manager")
    files.save(given, unlock_key)
    assert files.is_locked
    assert given.key.splitlines()[1] not in (tmp_path / NODE_FILE).read_text()
    assert files.load(unlock_key) == given
    for wrong in ("", new_unlock_key()):
        with pytest.raises(InvalidParameter, match="could not be unlocked"):
            files.load(wrong)


def test_a_forced_rotation_can_be_forced_again() -> None:
    """What was on its way is given up; the one before still signs for the newest."""
    root = new_root_ca(Authority.new(NOW))
    first = begun_rotation(root, CaConfig(force_rotate=1), NOW)
    second = begun_rotation(first, CaConfig(force_rotate=2), NOW)
    assert second.certificate == root.certificate
    assert second.next_certificate not in ("", first.next_certificate)
    assert msgspec.structs.replace(second, next_certificate="", next_key="", cross_signed="",
                                   last_forced_rotation=0) == root  # fmt: skip
