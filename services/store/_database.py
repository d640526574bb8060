"""The SQLite file: made private, opened to write or to read, set aside when corrupt."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from loguru import logger

from .migrations import Migration, migrate

_CORRUPT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_BUSY_S = 5.0  # only another process (an admin's sqlite3 shell) can hold the lock
_WAL_LIMIT_BYTES = 64 << 20  # a WAL that one long reader let grow is cut back to this


class WriteConnection(sqlite3.Connection):
    """What closures write with. When to commit is the store's to say, so these are refused."""

    def commit(self) -> NoReturn:
        """Refuse: the store commits."""
        raise RuntimeError("a write closure must not commit: the store does")

    def rollback(self) -> NoReturn:
        """Refuse: raising undoes the closure."""
        raise RuntimeError("a write closure must not roll back: raise to undo it")

    def executescript(self, _sql_script: str, /) -> NoReturn:
        """Refuse: it would commit first."""
        raise RuntimeError("executescript commits: execute the statements one by one")


def open_writer(path: Path, migrations: Sequence[Migration]) -> WriteConnection:
    """Open `path` for writing, made (mode 0600) and migrated as needed. Blocking.

    A file that is no database, or a damaged one, is renamed to `<name>.corrupt-<unix seconds>`,
    reported, and replaced by an empty one: no guesses are made about what it held.

    Raises:
        EngineError: a newer version of the engine wrote it.
        OSError, sqlite3.Error: it cannot be opened; nothing was set aside.
    """
    try:
        return _open_checked(path, migrations)
    except sqlite3.DatabaseError as error:
        if not is_corruption(error):
            raise
        kept_as = _set_aside(path)
        logger.bind(service="store").error(
            "state database is corrupt: set aside, starting with an empty one",
            path=str(path),
            kept_as=str(kept_as),
            error=str(error),
        )
    return _open_checked(path, migrations)


def open_reader(path: Path) -> sqlite3.Connection:
    """Open `path` for reading only. Closures may use it from any one thread at a time."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",  # rw: a reader maintains the WAL's index
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=_BUSY_S,
    )
    connection.execute("PRAGMA query_only = ON")
    return connection


def is_corruption(error: sqlite3.Error) -> bool:
    """Whether `error` says that the file itself is damaged (and not the disk full, say)."""
    code: int = getattr(error, "sqlite_errorcode", 0)  # absent on errors of the Python module
    return code & 0xFF in _CORRUPT


def _open_checked(path: Path, migrations: Sequence[Migration]) -> WriteConnection:
    _make_private(path)
    ended_badly = _has_content(_beside(path, "-wal"))
    connection: Any = sqlite3.connect(
        path,
        isolation_level=None,  # transactions are ours alone
        timeout=_BUSY_S,
        factory=WriteConnection,
        cached_statements=256,
    )
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # a commit returns after its fsync
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT_BYTES}")
        if ended_badly:  # after a clean end the check would only cost start-up time
            _check(connection)
        migrate(connection, migrations)
    except BaseException:
        connection.close()
        raise
    assert isinstance(connection, WriteConnection)
    return connection


def _check(connection: sqlite3.Connection) -> None:
    (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if finding != "ok":
        error = sqlite3.DatabaseError(finding)
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error


def _make_private(path: Path) -> None:
    """Create `path`, readable by its owner alone; SQLite gives its -wal and -shm the same mode."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)  # or a power cut could take the new file's name
    finally:
        os.close(directory)


def _set_aside(path: Path) -> Path:
    kept_as = path.with_name(f"{path.name}.corrupt-{time.time_ns() // 1_000_000_000}")
    serial = 0
    while kept_as.exists():
        serial += 1
        kept_as = kept_as.with_name(f"{kept_as.name}-{serial}")
    for suffix in ("-wal", "-shm"):  # first: a WAL without its database is never replayed into ours
        if _beside(path, suffix).exists():
            _beside(path, suffix).rename(_beside(kept_as, suffix))
    path.rename(kept_as)
    return kept_as


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False
