"""The files of one rotated log, by age and by generation.

`x.log` is being written, `x.log.1` is the one before it, and so on; an old one may be compressed
(`x.log.1.gz`). A generation is a number that a file keeps while it is renamed: readers name the
file that they are in by it. Generations count from 0 at the oldest file found by `scan`.
"""

from __future__ import annotations

import gzip
import os
import shutil
import threading
from pathlib import Path
from typing import BinaryIO, Final, cast

_MODE: Final = 0o640  # dockerd's


class LogFiles:
    """Names, renames and opens. Called from worker threads; the lock covers renames only."""

    def __init__(self, path: Path, *, max_files: int) -> None:
        self.path = path
        self._max_files = max_files
        self._lock = threading.Lock()
        self._scanned = False
        self.generation = 0  # of the file being written

    def scan(self) -> None:
        """Find out what is there, once, and mend what a kill cut short. Before anything else."""
        with self._lock:
            if not self._scanned:
                self._mend()
                self.generation = self._oldest_age()
                self._scanned = True

    def open_current(self) -> int:
        """A descriptor to write the newest file with, made if absent."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)

    def rotate(self) -> None:
        """Make the newest file the one before it, and forget what is too old."""
        with self._lock:
            if not self.path.exists():  # a rotation that went no further
                return
            if self._max_files == 1:
                # Never unlink first: the new file must not get the old one's inode number.
                fresh = self.path.with_name(f".{self.path.name}.new")
                os.close(os.open(fresh, os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _MODE))
                fresh.replace(self.path)
            for age in range(self._max_files - 1, 0, -1):
                self._age_one(age)
            self.generation += 1

    def compress_previous(self) -> None:
        """Replace `x.log.1` by `x.log.1.gz`, whole or not at all."""
        source = self._name(1)
        packed = source.with_name(f"{source.name}.gz")
        temporary = source.with_name(f".{packed.name}.tmp")
        with source.open("rb") as plain, gzip.open(temporary, "wb", compresslevel=6) as target:
            shutil.copyfileobj(plain, target, 256 * 1024)
        with self._lock:
            temporary.replace(packed)
            source.unlink(missing_ok=True)

    def previous_inode(self) -> int | None:
        """The inode of `x.log.1`, uncompressed; None without it."""
        try:
            return self._name(1).stat().st_ino
        except FileNotFoundError:
            return None

    def oldest(self) -> int:
        """The generation of the oldest file there is."""
        with self._lock:
            return max(0, self.generation - self._oldest_age())

    def open(self, generation: int) -> tuple[BinaryIO, bool] | None:
        """A generation's file to read and whether it is compressed; None when it is gone."""
        with self._lock:
            path = self._find(self.generation - generation)
            if path is None:
                return None
            if path.suffix == ".gz":
                return cast("BinaryIO", gzip.open(path, "rb")), True
            return path.open("rb", buffering=0), False

    def remove(self) -> None:
        """Remove every file of the log."""
        with self._lock:
            for age in range(self._oldest_age(), -1, -1):
                path = self._find(age)
                if path is not None:
                    path.unlink(missing_ok=True)

    def _oldest_age(self) -> int:
        age = 0
        while self._find(age + 1) is not None:
            age += 1
        return age

    def _mend(self) -> None:
        """Close the gaps that a rotation cut short has left, and remove half-done copies."""
        for path in self.path.parent.glob(f".{self.path.name}.*"):
            path.unlink()
        ages: dict[int, list[Path]] = {}
        for path in self.path.parent.glob(f"{self.path.name}.*"):
            number = path.name.removeprefix(f"{self.path.name}.").removesuffix(".gz")
            if number.isdecimal() and int(number):
                ages.setdefault(int(number), []).append(path)
        for age, (_, paths) in enumerate(sorted(ages.items()), start=1):
            packed = any(path.suffix == ".gz" for path in paths)
            for path in paths:
                if packed and path.suffix != ".gz":
                    path.unlink()  # its compressed copy is complete
                    continue
                name = self._name(age)
                path.rename(name.with_name(f"{name.name}.gz") if packed else name)

    def _age_one(self, age: int) -> None:
        """Rename the file of `age` - 1 to `age`, over what is there."""
        target = self._name(age)
        packed = target.with_name(f"{target.name}.gz")
        source = self._find(age - 1)
        if source is None:
            return
        target.unlink(missing_ok=True)
        packed.unlink(missing_ok=True)
        source.rename(packed if source.suffix == ".gz" else target)

    def _name(self, age: int) -> Path:
        return self.path if age == 0 else self.path.with_name(f"{self.path.name}.{age}")

    def _find(self, age: int) -> Path | None:
        plain = self._name(age)
        for path in (plain, plain.with_name(f"{plain.name}.gz")):
            if path.exists():
                return path
        return None
