"""The manager's own member of etcd: its process, and the files that its peers' TLS is made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import trio

from services.cluster.addresses import split_host
from services.cluster.ca.credentials import Credentials, write_private
from services.cluster.ca.keeper import CredentialKeeper
from services.cluster.etcd.command import MemberConfig, PeerTls
from services.cluster.etcd.process import EtcdProcess, MemberRemoved
from services.cluster.local_state import LocalFiles, LocalState
from services.errors import single_error

PEER_FILE: Final = "etcd-peer.pem"
ROOTS_FILE: Final = "etcd-roots.pem"


class EtcdMember:
    """A supervised child. The key that etcd reads lies below exec-root, which the machine's end
    empties: a locked manager's disk does not have it."""

    def __init__(
        self,
        state: LocalState,
        files: LocalFiles,
        keeper: CredentialKeeper,
        *,
        run_folder: Path,
        peer_url: str,
        forces_new: bool = False,
    ) -> None:
        host, _ = split_host(state.listen_addr, 0)
        self._keeper = keeper
        self._peer = run_folder / PEER_FILE
        self._roots = run_folder / ROOTS_FILE
        self._config = MemberConfig(
            name=state.node_id,
            folder=files.etcd,
            listen_host=host,
            peer_url=peer_url,
            tls=PeerTls(certificate=self._peer, key=self._peer, root_certificates=self._roots),
            joins=state.members,
            forces_new=forces_new,
        )
        self.was_removed: Final = trio.Event()

    @property
    def socket(self) -> Path:
        """Where it answers."""
        return self._config.socket

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled, or removed from the cluster: then it stays away until cancelled.

        Raises Unavailable when etcd ends by itself.
        """
        # Whether it is removed is known only later, and said by `was_removed`.
        task_status.started()
        try:
            while True:
                credentials = self._keeper.credentials
                await trio.to_thread.run_sync(self._write, credentials)
                await self._run_with(credentials)
        except MemberRemoved:
            self.was_removed.set()
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._forget)

    async def _run_with(self, credentials: Credentials) -> None:
        """Until other roots are to be trusted, which etcd reads only when it starts."""
        process = EtcdProcess(self._config)
        with single_error():
            async with trio.open_nursery() as nursery:
                await nursery.start(process.run)
                # Only the first start is to make others forgotten.
                self._config = replace(self._config, forces_new=False)
                while self._keeper.credentials.roots == credentials.roots:
                    changed = self._keeper.changed
                    await changed.wait()
                    await trio.to_thread.run_sync(self._write, self._keeper.credentials)
                nursery.cancel_scope.cancel()

    def _write(self, credentials: Credentials) -> None:
        self._peer.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self._peer, (credentials.key + credentials.chain).encode())
        write_private(self._roots, credentials.roots.encode())

    def _forget(self) -> None:
        self._peer.unlink(missing_ok=True)
        self._roots.unlink(missing_ok=True)
