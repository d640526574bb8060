"""Room on the disk that is the database's before it needs it.

On a full disk, what makes room must still be possible: a stop and a removal are writes too. So the
log has blocks beyond its end, where SQLite finds them whoever else has filled the disk, and however
fast; it is written over from its beginning after each checkpoint, so they serve again and again.
The database itself has free pages, which were written once: blocks beyond its end would go with the
next checkpoint.

While the database is closed its log is gone, and its blocks with it: a file holds their place.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final

from loguru import logger

from services.disk_blocks import take_blocks

LOG_BYTES: Final = 6 << 20
"""SQLite's 1,000 pages between two checkpoints, and what one large transaction has beyond them."""

PAGES_BYTES: Final = 1 << 20
"""Of free pages: some thousand events, and all that stops and removals change."""

log = logger.bind(service="store")


class Room:
    """The room of one database. Blocks, as disks do: for the writer's thread."""

    def __init__(self, path: Path) -> None:
        self._log_files = tuple(path.with_name(f"{path.name}-{what}") for what in ("wal", "shm"))
        self._place = path.with_name(f"{path.name}.room")
        self._taken: set[Path] = set()
        self._is_short = False

    def open(self) -> None:
        """Give the place back: the database is about to be opened, and to need it."""
        self._place.unlink(missing_ok=True)

    def take(self, connection: sqlite3.Connection) -> None:
        """Have what there should be, as far as the disk gives it. Outside of a transaction."""
        try:
            self._take_log()
            self._take_pages(connection)
        except (OSError, sqlite3.Error) as error:
            if not self._is_short:
                log.warning("no room held ready", error=str(error))
            self._is_short = True
        else:
            self._is_short = False

    def close(self) -> None:
        """Hold the place of the log, which has gone with the connection."""
        self._taken.clear()
        try:
            self._place.touch(mode=0o600)
            allocate(self._place, LOG_BYTES)
        except OSError as error:
            log.warning("no room held ready", error=str(error))

    def _take_log(self) -> None:
        for file in self._log_files:
            if file not in self._taken and file.exists():
                allocate(file, LOG_BYTES)
                self._taken.add(file)

    def _take_pages(self, connection: sqlite3.Connection) -> None:
        """Pages that are written and given back. Without secure_delete they were only counted."""
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        if free * page_bytes >= PAGES_BYTES // 2:
            return
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute("CREATE TABLE room (held BLOB)")
            connection.execute("INSERT INTO room VALUES (zeroblob(?))", (PAGES_BYTES,))
            connection.execute("DROP TABLE room")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        finally:
            connection.execute("PRAGMA secure_delete = OFF")


def allocate(path: Path, size: int) -> None:
    """Let the file at `path` have blocks for `size` bytes; its length and content stay. Blocks.

    Raises:
        OSError: the disk has no such room, or the file system cannot do this.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        take_blocks(descriptor, offset=0, length=size)
    finally:
        os.close(descriptor)
