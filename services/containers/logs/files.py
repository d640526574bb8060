"""The files of one rotated log, by age and by generation.

`x.log` is being written, `x.log.1` is the one before it, and so on; an old one may be compressed
(`x.log.1.gz`). A generation is a number that a file keeps while it is renamed: readers name the
file that they are in by it. Generations count from 0 at the oldest file found by `scan`.

A file that a follower has still to read is kept beyond its time, under a name of its own
(`.x.log.held.7`), as long as all such files together stay within HELD_BYTES.
"""

from __future__ import annotations

import gzip
import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, cast

from services.containers.logs.packed import Contents, pack, read_contents

HELD_BYTES: Final = 64 * 1024 * 1024
_MODE: Final = 0o640  # dockerd's


@dataclass(frozen=True, slots=True)
class Opened:
    """A generation's file to read. Compressed: forwards only, and `contents` of the header."""

    file: BinaryIO
    contents: Contents | None = None

    @property
    def packed(self) -> bool:
        """Is it compressed?"""
        return self.contents is not None


class LogFiles:
    """Names, renames and opens. Called from worker threads; the lock covers renames only.

    Attributes:
        generation: of the file being written.
        unread: files that had to go although a follower had not read them yet.
    """

    def __init__(self, path: Path, *, max_files: int, held_bytes: int = HELD_BYTES) -> None:
        self.path = path
        self.generation = 0
        self.unread = 0
        self._max_files = max_files
        self._held_limit = held_bytes
        self._lock = threading.Lock()
        self._scanned = False
        self._packable = -1  # the newest generation that may be compressed
        self._followers: dict[object, int] = {}
        self._held: dict[int, Path] = {}

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
            self._hold_back(self._max_files - 1)
            if self._max_files == 1:
                # Never unlink first: the new file must not get the old one's inode number.
                fresh = self._aside("new")
                os.close(os.open(fresh, os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _MODE))
                fresh.replace(self.path)
            for age in range(self._max_files - 1, 0, -1):
                self._age_one(age)
            self.generation += 1

    def allow_packing(self) -> None:
        """Every file but the newest may be compressed from now on."""
        with self._lock:
            self._packable = self.generation - 1

    def pack_one(
        self, describe: Callable[[BinaryIO], Contents], checkpoint: Callable[[], object]
    ) -> bool:
        """Compress one file that may be, whole or not at all; False: there is none.

        Renames go on meanwhile. One call at a time; what `checkpoint` raises ends it.
        """
        with self._lock:
            generation = self._next_to_pack()
            if generation is None:
                return False
            source = self._name(self.generation - generation).open("rb")
        temporary = self._aside(f"{generation}.gz.tmp")
        try:
            with source, temporary.open("wb") as target:
                contents = describe(source)
                source.seek(0)
                pack(source, target, contents, checkpoint)
                target.flush()
                os.fsync(target.fileno())  # or a crash of the machine may leave neither
            self._replace_by_packed(generation, temporary)
        finally:
            temporary.unlink(missing_ok=True)
        return True

    def previous_inode(self) -> int | None:
        """The inode of `x.log.1`, uncompressed; None without it."""
        try:
            return self._name(1).stat().st_ino
        except FileNotFoundError:
            return None

    def oldest(self) -> int:
        """The generation of the oldest file there is."""
        with self._lock:
            return self._oldest()

    def open(self, generation: int) -> Opened | None:
        """A generation's file; None when it is gone."""
        with self._lock:
            path = self._held.get(generation) or self._find(self.generation - generation)
            if path is None:
                return None
            file = path.open("rb", buffering=0)
        if not _is_packed(path):
            return Opened(file)
        contents = read_contents(file)
        file.seek(0)
        return Opened(cast("BinaryIO", _Unpacked(file)), contents)

    def follow(self, follower: object, generation: int) -> None:
        """`follower` needs this generation and all later ones; call again as it goes on."""
        with self._lock:
            self._followers[follower] = generation
            self._drop_held()

    def unfollow(self, follower: object) -> None:
        """It needs nothing any more. A second call does nothing."""
        with self._lock:
            self._followers.pop(follower, None)
            self._drop_held()

    def drop_oldest(self, *, spare_unread: bool, spare_inode: bool) -> int:
        """Remove the oldest file but the newest one; how many bytes that freed, 0: none may go.

        A reader that is in it may read on. `spare_unread`: not one that a follower has still to
        read. `spare_inode`: of `x.log.1` the content only, for its inode is a proof.
        """
        with self._lock:
            generation = self._oldest()
            is_needed = any(needed <= generation for needed in self._followers.values())
            if generation == self.generation or (spare_unread and is_needed):
                return 0
            held = self._held.pop(generation, None)
            path = held or self._find(self.generation - generation)
            assert path is not None
            size = path.stat().st_size
            if held is None and spare_inode and generation == self.generation - 1:
                os.truncate(path, 0)
            else:
                path.unlink()
            self.unread += is_needed
            return size

    def remove(self) -> None:
        """Remove every file of the log."""
        with self._lock:
            for age in range(self._oldest_age(), -1, -1):
                path = self._find(age)
                if path is not None:
                    path.unlink(missing_ok=True)

    def _oldest(self) -> int:
        return min([max(0, self.generation - self._oldest_age()), *self._held])

    def _oldest_age(self) -> int:
        age = 0
        while self._find(age + 1) is not None:
            age += 1
        return age

    def _next_to_pack(self) -> int | None:
        """The newest, since rotations take the others away."""
        for generation in range(self._packable, self._packable - self._max_files, -1):
            path = self._find(self.generation - generation) if generation >= 0 else None
            if path is None:
                return None
            if not _is_packed(path):
                return generation
        return None

    def _replace_by_packed(self, generation: int, temporary: Path) -> None:
        with self._lock:
            path = self._find(self.generation - generation)
            if path is not None and not _is_packed(path):
                temporary.replace(path.with_name(f"{path.name}.gz"))
                path.unlink()

    def _hold_back(self, age: int) -> None:
        """Keep the file of `age`, which is about to go, if somebody has to read it."""
        generation = self.generation - age
        path = self._find(age)
        if path is None or not any(needed <= generation for needed in self._followers.values()):
            return
        held = self._aside(f"held.{generation}{'.gz' if _is_packed(path) else ''}")
        if age == 0:
            os.link(path, held)  # it is replaced, not renamed
        else:
            path.rename(held)
        self._held[generation] = held
        while sum(path.stat().st_size for path in self._held.values()) > self._held_limit:
            self._held.pop(min(self._held)).unlink()
            self.unread += 1

    def _drop_held(self) -> None:
        needed = min(self._followers.values(), default=self.generation)
        for generation in [one for one in self._held if one < needed]:
            self._held.pop(generation).unlink(missing_ok=True)

    def _mend(self) -> None:
        """Close the gaps that a rotation cut short has left, and remove half-done copies."""
        names = _names_in(self.path.parent)
        for name in names:
            if name.startswith(f".{self.path.name}."):
                (self.path.parent / name).unlink()
        ages: dict[int, list[Path]] = {}
        for name in names:
            if not name.startswith(f"{self.path.name}."):
                continue
            number = name.removeprefix(f"{self.path.name}.").removesuffix(".gz")
            if re.fullmatch("[1-9][0-9]{0,8}", number):
                ages.setdefault(int(number), []).append(self.path.parent / name)
        for age, (_, paths) in enumerate(sorted(ages.items()), start=1):
            packed = any(_is_packed(path) for path in paths)
            for path in paths:
                if packed and not _is_packed(path):
                    path.unlink()  # its compressed copy is complete
                    continue
                plain = self._name(age)
                path.rename(plain.with_name(f"{plain.name}.gz") if packed else plain)

    def _age_one(self, age: int) -> None:
        """Rename the file of `age` - 1 to `age`, over what is there."""
        target = self._name(age)
        packed = target.with_name(f"{target.name}.gz")
        source = self._find(age - 1)
        if source is None:
            return
        target.unlink(missing_ok=True)
        packed.unlink(missing_ok=True)
        source.rename(packed if _is_packed(source) else target)

    def _name(self, age: int) -> Path:
        return self.path if age == 0 else self.path.with_name(f"{self.path.name}.{age}")

    def _aside(self, suffix: str) -> Path:
        return self.path.with_name(f".{self.path.name}.{suffix}")

    def _find(self, age: int) -> Path | None:
        if age < 0:
            return None
        plain = self._name(age)
        for path in (plain, plain.with_name(f"{plain.name}.gz")):
            if path.exists():
                return path
        return None


class _Unpacked(gzip.GzipFile):
    """Closes the file below it too."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(fileobj=file, mode="rb")
        self._below = file

    def close(self) -> None:
        super().close()
        self._below.close()


def _names_in(directory: Path) -> list[str]:
    """No pattern for them: each log's would be compiled for it alone."""
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def _is_packed(path: Path) -> bool:
    return path.suffix == ".gz"
