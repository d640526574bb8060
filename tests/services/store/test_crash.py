"""kill -9 at any moment, and a disk that ends: every acknowledged write is there, none half."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

WRITER = """
import sys, trio
from functools import partial
from pathlib import Path
from services.store import Store, Migration

SQL = "CREATE TABLE IF NOT EXISTS pairs (task, n, half); "

def pair(task, n, connection):
    connection.execute("INSERT INTO pairs VALUES (?, ?, 0)", (task, n))
    connection.execute("INSERT INTO pairs VALUES (?, ?, 1)", (task, n))

async def write(store, task):
    n = 0
    while True:
        await store.write(partial(pair, task, n))
        print(task, n, flush=True)
        n += 1

async def main():
    store = Store(Path(sys.argv[1]), [Migration(owner="t", version=1, sql=SQL)])
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        for task in range(8):
            nursery.start_soon(write, store, f"{sys.argv[2]}-{task}")

trio.run(main)
"""

FULL_DISK = """
import resource, signal, sys, trio
from functools import partial
from pathlib import Path
from services.errors import EngineError
from services.store import Store, Migration

def insert(connection):
    connection.execute("INSERT INTO t VALUES (?)", (b"x" * 10_000,))

async def main():
    store = Store(Path(sys.argv[1]), [Migration(owner="t", version=1, sql="CREATE TABLE t (v);")])
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        await store.write(insert)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        size = 200_000
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        written, refused = 1, 0
        while refused < 3:
            try:
                await store.write(insert)
                written += 1
            except EngineError as error:
                assert "cannot write" in str(error), error
                refused += 1
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        await store.write(insert)
        print(written + 1, flush=True)
        nursery.cancel_scope.cancel()

trio.run(main)
"""


@pytest.mark.parametrize("seed", range(3))
def test_kill_9_loses_nothing_acknowledged(tmp_path: Path, seed: int) -> None:
    """Eight tasks write pairs until kill -9; each acknowledged pair is there, and none is half."""
    path = tmp_path / "state.db"
    chance = random.Random(seed)
    acknowledged: set[tuple[str, int]] = set()
    for life in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(life)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        lines = [process.stdout.readline()]  # it runs
        time.sleep(chance.random() * 0.3)
        process.kill()
        lines += process.stdout.readlines()
        process.wait()
        for line in lines:
            if line.endswith("\n"):
                task, n = line.split()
                acknowledged.add((task, int(n)))
    with sqlite3.connect(path) as connection:
        stored = connection.execute(
            "SELECT task, n, count(*), sum(half) FROM pairs GROUP BY task, n"
        ).fetchall()
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert acknowledged
    assert acknowledged <= {(task, n) for task, n, _, _ in stored}
    assert all((count, halves) == (2, 1) for _, _, count, halves in stored)


def test_full_file_system_is_told_and_survived(tmp_path: Path) -> None:
    """At the file size limit writes fail with EngineError; with room again they go on."""
    path = tmp_path / "state.db"
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    count = sqlite3.connect(path).execute("SELECT count(*) FROM t").fetchone()
    assert count == (int(done.stdout),)
