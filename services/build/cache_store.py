"""The caches of `RUN --mount=type=cache` on disk. Everything here blocks.

<root>/<name>/data         what commands see
<root>/<name>/about.json   what it is and when it was last asked for
<root>/.new-<hex>          one that is being made
<root>/.gone-<hex>         one that is being deleted
"""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path
from typing import Final

import msgspec
from loguru import logger

from services import typed_json
from services.tree_bytes import tree_bytes

NAME_CHARS: Final = 25  # as those that BuildKit makes up
_NEW, _GONE = ".new-", ".gone-"
_ABOUT: Final = "about.json"
DATA: Final = "data"


class CacheRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One cache. `key` is the same for all that a mount may get; times are since the epoch."""

    name: str
    key: str
    description: str
    created_at_ns: int
    used_at_ns: int
    use_count: int = 1


class CacheStore:
    """The caches below `root`. A caller sees to it that nobody uses what it removes."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def data(self, name: str) -> Path:
        """Where a cache's files lie. No I/O."""
        return self._root / name / DATA

    def load(self) -> list[CacheRecord]:
        """All caches; what a killed engine has left half made or half deleted goes."""
        records: list[CacheRecord] = []
        for entry in os.scandir(self._root) if self._root.is_dir() else ():
            record = None if entry.name.startswith(".") else self._read(entry.name)
            if record is None:
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                records.append(record)
        return records

    def begin(self) -> Path:
        """A new cache, which nobody sees before `finish`: its directory."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        aside = self._root / f"{_NEW}{secrets.token_hex(8)}"
        (aside / DATA).mkdir(mode=0o755, parents=True)
        return aside

    def finish(self, aside: Path, record: CacheRecord) -> None:
        """Its first files are in it: it is a cache from now on."""
        self._write(aside, record)
        aside.rename(self._root / record.name)
        _sync(self._root)

    def give_up(self, aside: Path) -> None:
        """It is not to be."""
        shutil.rmtree(aside, ignore_errors=True)

    def note(self, record: CacheRecord) -> None:
        """Write down when and how often it was used."""
        self._write(self._root / record.name, record)

    def remove(self, name: str) -> int:
        """Delete one; the bytes that it held. It is out of sight in one step."""
        aside = self._root / f"{_GONE}{secrets.token_hex(8)}"
        try:
            (self._root / name).rename(aside)
        except FileNotFoundError:
            return 0
        freed = tree_bytes(aside / DATA)
        shutil.rmtree(aside, ignore_errors=True)  # the next start tries again
        return freed

    def size_bytes(self, name: str) -> int:
        """What one holds."""
        return tree_bytes(self.data(name))

    def _read(self, name: str) -> CacheRecord | None:
        """None for what is none, of which the log tells: a cache is made anew."""
        try:
            data = (self._root / name / _ABOUT).read_bytes()
            record = typed_json.decode(data, CacheRecord)
        except (OSError, msgspec.MsgspecError) as error:
            logger.bind(service="build").warning(
                "build cache removed: its record cannot be read", cache=name, error=str(error)
            )
            return None
        return record if record.name == name and self.data(name).is_dir() else None

    def _write(self, directory: Path, record: CacheRecord) -> None:
        temporary = directory / f".{_ABOUT}"
        with temporary.open("wb") as file:
            file.write(msgspec.json.encode(record))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(directory / _ABOUT)
        _sync(directory)


def _sync(directory: Path) -> None:
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
