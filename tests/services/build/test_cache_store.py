"""Caches on disk: whole or absent, wherever an engine dies."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.build.cache_store import DATA, CacheRecord, CacheStore

RECORD = CacheRecord(name="n", key="k", description="d", created_at_ns=1, used_at_ns=2)


class Died(BaseException):
    """The engine ended here."""


class Steps:
    """Counts what changes the disk, and dies before one of these."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, last: int) -> None:
        self.left = last
        for owner, name in ((os, "fsync"), (Path, "rename"), (Path, "replace"), (Path, "mkdir")):
            monkeypatch.setattr(owner, name, self._counted(getattr(owner, name)))

    def _counted(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            if self.left == 0:
                raise Died
            self.left -= 1
            return step(*arguments, **named)

        return counted


def make(store: CacheStore) -> None:
    """A cache with a file in it."""
    aside = store.begin()
    (aside / DATA / "f").write_text("kept")
    store.finish(aside, RECORD)


def note(store: CacheStore) -> None:
    """It is used once more."""
    store.note(msgspec.structs.replace(RECORD, use_count=2))


def remove(store: CacheStore) -> None:
    """It is deleted."""
    store.remove(RECORD.name)


NONE, ONCE, TWICE = ("none", 0), ("found", 1), ("found", 2)


@pytest.mark.parametrize(
    ("action", "wanted"),
    [(make, {NONE, ONCE}), (note, {ONCE, TWICE}), (remove, {ONCE, NONE})],
)
def test_it_may_end_anywhere(
    tmp_path: Path, action: Callable[[CacheStore], None], wanted: set[tuple[str, int]]
) -> None:
    """The next engine finds a whole cache or none, and nothing else stays."""
    seen: set[tuple[str, int]] = set()
    for last in range(100):
        root = tmp_path / str(last)
        store = CacheStore(root)
        if action is not make:
            make(store)
        with pytest.MonkeyPatch.context() as patch:
            steps = Steps(patch, last)
            with suppress(Died):
                action(store)
            is_done = steps.left > 0
        records = CacheStore(root).load()
        for record in records:
            assert (store.data(record.name) / "f").read_text() == "kept"
            assert record.use_count in (1, 2)
        names = [path.name for path in root.iterdir()] if root.exists() else []
        assert names == [record.name for record in records]
        seen.add(("found", records[0].use_count) if records else NONE)
        if is_done:
            break
    assert seen == wanted
