"""What a node knows of its place in a cluster, on disk: one small file beside its certificates.

    <data-root>/swarm/          0700
    ├─ state.json               this module's
    ├─ certificates/            who the node is (services.cluster.ca.credentials)
    ├─ data-key.json            managers only (services.cluster.ca.data_key)
    ├─ etcd/                    managers only: the member's data
    └─ agent/                   what the node was told to run

The file is written last when a node joins, and goes first when it leaves: without it the rest is
what a crash has left, and is cleared away.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import msgspec

from services import typed_json
from services.cluster.ca.credentials import write_private
from services.errors import EngineError

STATE_FILE: Final = "state.json"


class LocalState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Addresses are bare, but for `listen_addr` and `advertise_addr`, which are host:port.

    `members` are peers by name, of a manager that joined others; `is_manager` says whether the node
    has a member of etcd, which may for a moment differ from what its certificate says.
    """

    node_id: str
    cluster_id: str
    listen_addr: str
    advertise_addr: str
    data_path_addr: str = ""
    remotes: tuple[str, ...] = ()
    is_manager: bool = False
    members: dict[str, str] = {}


class LocalFiles:
    """The folder of the cluster. Calls block on the disk; what they write is durable."""

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder

    @property
    def certificates(self) -> Path:
        """Of the node's credentials."""
        return self.folder / "certificates"

    @property
    def etcd(self) -> Path:
        """Of the member's data and socket."""
        return self.folder / "etcd"

    @property
    def agent(self) -> Path:
        """Of the agent."""
        return self.folder / "agent"

    def load(self) -> LocalState | None:
        """None for a node that is in no cluster. Raises EngineError for a file that is damaged."""
        path = self.folder / STATE_FILE
        try:
            return typed_json.decode(path.read_bytes(), LocalState)
        except FileNotFoundError:
            return None
        except (msgspec.MsgspecError, OSError) as error:
            raise EngineError(
                f"what the node knows of its swarm cannot be read: {error}"
            ) from error

    def save(self, state: LocalState) -> None:
        """Replace it."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self.folder / STATE_FILE, msgspec.json.encode(state))

    def wipe_member(self) -> None:
        """Forget what the member had: it is one no more, or is to begin anew."""
        shutil.rmtree(self.etcd, ignore_errors=True)

    def wipe(self) -> None:
        """Forget everything."""
        (self.folder / STATE_FILE).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)
