"""The cluster's data key on a manager's disk: bare, or wrapped with the unlock key."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from services import typed_json
from services.cluster.ca.credentials import write_private
from services.cluster.ca.sealing import unwrap_data_key, wrap_data_key
from services.errors import EngineError, InvalidParameter

DATA_KEY_FILE: Final = "data-key.json"


class _Kept(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One of the two is set."""

    plain: str = ""  # hexadecimal
    wrapped: str = ""


class DataKeyFile:
    """One small file in `folder`. Calls block on the disk; what they write is durable."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / DATA_KEY_FILE

    @property
    def is_locked(self) -> bool:
        """Whether `load` needs the unlock key. False when there is no file."""
        return self._path.exists() and bool(self._read().wrapped)

    def load(self, unlock_key: str = "") -> bytes:
        """The key. Raises InvalidParameter when it is locked and `unlock_key` does not fit."""
        kept = self._read()
        if kept.plain:
            return bytes.fromhex(kept.plain)
        if not unlock_key:
            raise InvalidParameter("swarm could not be unlocked: no key provided")
        return unwrap_data_key(kept.wrapped, unlock_key)

    def save(self, data_key: bytes, unlock_key: str = "") -> None:
        """Keep the key, wrapped if there is an unlock key."""
        if unlock_key:
            kept = _Kept(wrapped=wrap_data_key(data_key, unlock_key))
        else:
            kept = _Kept(plain=data_key.hex())
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self._path, msgspec.json.encode(kept))

    def wipe(self) -> None:
        """Forget the key: the node is no manager any more."""
        self._path.unlink(missing_ok=True)

    def _read(self) -> _Kept:
        try:
            return typed_json.decode(self._path.read_bytes(), _Kept)
        except (msgspec.MsgspecError, OSError) as error:
            raise EngineError(f"the cluster's data key at {self._path} cannot be read") from error
