"""services.typed_json: types are prepared by one thread at a time, and by nobody else."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from services import typed_json

ROOT = Path(__file__).parents[2]
AT_ONCE = """
import sys, threading
from services import typed_json
from services.cluster.model.objects import Cluster, Node, Service, Task

sys.setswitchinterval(0.00005)
kinds = [Task, Service, Cluster, Node]
start = threading.Barrier(4)

def decode(first):
    start.wait()
    for kind in kinds[first:] + kinds[:first]:
        try:
            typed_json.decode(b"{}", kind)
        except ValueError:
            pass

threads = [threading.Thread(target=decode, args=(first,)) for first in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""
ANOTHERS_OWN = re.compile(
    r"msgspec\.json\.Decoder\(|msgspec\.convert\(|msgspec\.json\.decode\(.*type="
)


class Thing(msgspec.Struct):
    """Something with a name."""

    name: str


def test_values_and_errors_are_msgspecs() -> None:
    """Of JSON and of plain values."""
    assert typed_json.decode(b'{"name":"a"}', Thing) == Thing("a")
    assert typed_json.convert({"name": "a"}, Thing) == Thing("a")
    assert typed_json.decode("null", dict[str, Thing] | None) is None
    for ask in (typed_json.decode(b"[1]", list[int]), typed_json.convert([1], list[int])):
        assert ask == [1]
    with pytest.raises(msgspec.ValidationError, match="missing required field `name`"):
        typed_json.decode(b"{}", Thing)


def test_there_is_one_decoder_for_a_type() -> None:
    """Whoever asks, and for any kind of type."""
    assert typed_json.decoder(Thing) is typed_json.decoder(Thing)
    assert typed_json.decoder(dict[str, Thing]) is typed_json.decoder(dict[str, Thing])


def test_threads_that_meet_at_new_types_crash_nothing() -> None:
    """With msgspec's own functions most of these processes end by SIGSEGV."""
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", AT_ONCE], cwd=ROOT, check=False, timeout=60)
        assert done.returncode == 0


def test_nobody_prepares_types_elsewhere() -> None:
    """That would be another thread, which knows nothing of the lock."""
    files = [p for folder in ("services", "supervisor") for p in (ROOT / folder).rglob("*.py")]
    found = [
        str(path.relative_to(ROOT))
        for path in files
        if path != Path(typed_json.__file__) and ANOTHERS_OWN.search(path.read_text())
    ]
    assert found == []
