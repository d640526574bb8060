"""A node's credentials as they are now, and their renewal in time."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Protocol

import trio
from loguru import logger

from services.cluster.ca.admission import Application, Issued
from services.cluster.ca.authority import key_pem, new_key, new_request
from services.cluster.ca.credentials import CredentialFiles, Credentials
from services.cluster.ca.identity import renew_at
from services.errors import EngineError

# Between two attempts to renew: a half of a certificate's life is left for them.
RETRY_S: Final = 10.0
# trio's clock is not the calendar's, which may be set: look again at least so often.
LOOK_S: Final = 3600.0

log = logger.bind(service="cluster.ca")


class Issuer(Protocol):
    """Who signs for this node: a manager over the network, or this one itself."""

    async def renew(self, application: Application) -> Issued:
        """Another certificate for the node that shows its present one. Raises EngineError."""


class CredentialKeeper:
    """Owns the credentials in memory and on disk. `run` is a supervised child.

    `unlock_key` and `addresses` are asked for whenever they are needed.
    """

    def __init__(
        self,
        credentials: Credentials,
        files: CredentialFiles,
        *,
        issuer: Issuer,
        unlock_key: Callable[[], str] = str,
        addresses: Callable[[], tuple[str, ...]] = tuple,
    ) -> None:
        self._changed = trio.Event()
        self._credentials = credentials
        self._files = files
        self._issuer = issuer
        self._unlock_key = unlock_key
        self._addresses = addresses
        self._is_asked = trio.Event()

    @property
    def credentials(self) -> Credentials:
        """As they are now."""
        return self._credentials

    @property
    def changed(self) -> trio.Event:
        """Set at the next change; there is another one then. Take it before you look."""
        return self._changed

    async def trust(self, roots: str) -> None:
        """These are the cluster's roots now. Returns once that is on disk."""
        if roots and roots != self._credentials.roots:
            await self._replace(self._credentials.with_roots(roots))

    def ask_to_renew(self) -> None:
        """Renew now: the managers say that the role or the root has changed."""
        self._is_asked.set()

    async def relock(self) -> None:
        """Write the key anew, with the unlock key that is wanted now."""
        await self._replace(self._credentials)

    async def run(self) -> None:
        """Renew whenever it is time, until cancelled."""
        while True:
            await self._wait()
            self._is_asked = trio.Event()
            try:
                await self._renew()
            except EngineError as error:
                log.bind(error=str(error)).warning("the node's certificate was not renewed")
                self._is_asked.set()
                await trio.sleep(RETRY_S)

    async def _wait(self) -> None:
        """Until it is time to renew, or somebody asks for it."""
        due = renew_at(self._credentials.chain, random.random())  # noqa: S311 - only spreads load
        while not self._is_asked.is_set():
            left_s = (due - datetime.now(UTC)).total_seconds()
            if left_s <= 0:
                return
            with trio.move_on_after(min(left_s, LOOK_S)):
                await self._is_asked.wait()

    async def _renew(self) -> None:
        key = new_key()
        issued = await self._issuer.renew(
            Application(signing_request=new_request(key), addresses=self._addresses())
        )
        await self._replace(Credentials(chain=issued.chain, key=key_pem(key), roots=issued.roots))
        log.bind(role=self._credentials.identity.role).info("the node's certificate was renewed")

    async def _replace(self, credentials: Credentials) -> None:
        await trio.to_thread.run_sync(self._files.save, credentials, self._unlock_key())
        self._credentials = credentials
        changed, self._changed = self._changed, trio.Event()
        changed.set()
