"""Credentials are renewed in time, and what changes is on disk before anybody sees it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from services.cluster.ca.admission import Application, Issued
from services.cluster.ca.authority import Authority, Subject, key_pem, new_key, new_request
from services.cluster.ca.credentials import CredentialFiles, Credentials, wait_renewed
from services.cluster.ca.keeper import RETRY_S, CredentialKeeper
from services.cluster.ca.tokens import new_unlock_key
from services.cluster.model.wire import utc_now
from services.errors import Unavailable

ROOT = Authority.new(utc_now())


def chain_of(request: str, *, age: timedelta = timedelta(), role: str = "worker") -> str:
    """A certificate for 90 days, made so long ago."""
    subject = Subject(node_id="n1", role=role, cluster_id="c1")
    return ROOT.issue(request, subject, utc_now() - age, timedelta(days=90))


def credentials(age: timedelta = timedelta()) -> Credentials:
    """A node's."""
    key = new_key()
    chain = chain_of(new_request(key), age=age)
    return Credentials(chain=chain, key=key_pem(key), roots=ROOT.certificate)


class Issuer:
    """Signs, unless it is to be away for the first so many times."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.asked_at: list[float] = []

    async def renew(self, application: Application) -> Issued:
        self.asked_at.append(trio.current_time())
        if self.failures:
            self.failures -= 1
            raise Unavailable("no manager answers")
        chain = chain_of(application.signing_request)
        return Issued(node_id="n1", chain=chain, roots=ROOT.certificate)


@pytest.fixture(autouse=True)
def _no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock must not jump while a thread works."""

    async def run_here(work: Callable[..., Any], *args: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return work(*args)

    monkeypatch.setattr("trio.to_thread.run_sync", run_here)


async def test_an_old_certificate_is_renewed_at_once_and_a_new_one_is_not(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """What is in memory is on disk; the key is another one too."""
    files, issuer, old = CredentialFiles(tmp_path), Issuer(), credentials(timedelta(days=80))
    keeper = CredentialKeeper(old, files, issuer=issuer)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run)
        with trio.fail_after(5):
            await wait_renewed(keeper)
        assert keeper.credentials.key != old.key
        assert files.load() == keeper.credentials
        await trio.sleep(3600 * 24)
        assert len(issuer.asked_at) == 1
        nursery.cancel_scope.cancel()


async def test_a_renewal_that_fails_is_tried_again(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """After a while each time, and with what the node has meanwhile."""
    issuer, old = Issuer(failures=2), credentials()
    keeper = CredentialKeeper(old, CredentialFiles(tmp_path), issuer=issuer)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run)
        await trio.sleep(100)
        assert issuer.asked_at == []
        keeper.ask_to_renew()
        await wait_renewed(keeper)
        assert issuer.asked_at == [100, 100 + RETRY_S, 100 + 2 * RETRY_S]
        nursery.cancel_scope.cancel()


async def test_other_roots_are_kept_and_are_no_renewal(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Those who wait for another certificate go on waiting."""
    files, both = CredentialFiles(tmp_path), ROOT.certificate + Authority.new(utc_now()).certificate
    keeper = CredentialKeeper(credentials(), files, issuer=Issuer())
    changed = keeper.changed
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.trust, both)
        with trio.move_on_after(5) as scope:
            await wait_renewed(keeper)
    assert scope.cancelled_caught
    assert changed.is_set()
    saved = files.load()
    assert saved is not None
    assert saved.roots == keeper.credentials.roots == both


async def test_the_key_on_disk_follows_the_unlock_key(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Locked, with another key, and open again."""
    files, unlock_key = CredentialFiles(tmp_path), [""]
    keeper = CredentialKeeper(
        credentials(), files, issuer=Issuer(), unlock_key=lambda: unlock_key[0]
    )
    for key in (new_unlock_key(), new_unlock_key(), ""):
        unlock_key[0] = key
        await keeper.relock()
        assert files.is_locked == bool(key)
        assert files.load(key) == keeper.credentials
