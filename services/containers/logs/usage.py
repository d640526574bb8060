"""How much room a log's files take."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class LogUsage:
    """Bytes of a log's files.

    Attributes:
        newest: of the file that is written, or was last.
        older: of the others, the oldest first.
    """

    newest: int = 0
    older: tuple[int, ...] = ()

    @property
    def total(self) -> int:
        """Of all files."""
        return self.newest + sum(self.older)


def measure(path: Path) -> LogUsage:
    """The room that the log at `path` takes. Blocks; a log without files takes none."""
    newest, older = 0, list[tuple[float, int]]()
    with suppress(FileNotFoundError), os.scandir(path.parent) as entries:
        for entry in entries:
            age = _age(entry.name, path.name)
            if age is None:
                continue
            with suppress(FileNotFoundError):  # it was renamed or removed meanwhile
                size = entry.stat(follow_symlinks=False).st_size
                if age:
                    older.append((age, size))
                else:
                    newest = size
    return LogUsage(newest, tuple(size for _, size in sorted(older, reverse=True)))


def _age(name: str, base: str) -> float | None:
    """0 for the newest; infinite for what is kept for a follower or half compressed."""
    if name == base:
        return 0
    if name.startswith(f".{base}."):
        return float("inf")
    if not name.startswith(f"{base}."):
        return None
    number = name.removeprefix(f"{base}.").removesuffix(".gz")
    return int(number) if number.isdecimal() else None
