"""Real-time scheduling of cgroups: what is given to which, and what cannot be given."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.containers.realtime import Realtime, RealtimeShare
from services.errors import EngineError
from services.system import CgroupFacts


def share(mount: Path, *, works: bool = True, **values: int) -> RealtimeShare:
    facts = CgroupFacts(mountpoints={"cpu": str(mount)}, cpu_realtime=works)
    return RealtimeShare(cgroup=facts, wanted=lambda: Realtime(**values))


def given(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("cpu.rt_*"))
    }


@pytest.mark.parametrize("parent", ["/a/b", "a/b"])
def test_all_from_the_top_to_the_parent_have_it(tmp_path: Path, parent: str) -> None:
    """A cgroup can give no more than it has, and one that is made anew has nothing."""
    share(tmp_path, runtime_us=95_000, period_us=100_000).grant(parent)
    files = {"cpu.rt_period_us": "100000", "cpu.rt_runtime_us": "95000"}
    assert given(tmp_path) == {
        f"{folder}/{name}": value for folder in ("a", "a/b") for name, value in files.items()
    }


def test_what_is_not_asked_for_stays_as_it_is(tmp_path: Path) -> None:
    """Without either nothing is made, with one of them only that one is written."""
    share(tmp_path).grant("/a")
    assert list(tmp_path.iterdir()) == []
    share(tmp_path, runtime_us=5).grant("/a")
    assert given(tmp_path) == {"a/cpu.rt_runtime_us": "5"}
    share(tmp_path, runtime_us=5).grant("system.slice")
    assert not (tmp_path / "system.slice").exists()


def test_a_kernel_without_it_and_a_path_out_of_the_tree_are_refused(tmp_path: Path) -> None:
    """In dockerd's words; nothing is made."""
    with pytest.raises(EngineError, match="unable to init CPU RT controller: the kernel has no"):
        share(tmp_path, works=False, runtime_us=5).grant("/a")
    with pytest.raises(EngineError, match=r"unable to init CPU RT controller: /../a is no cgroup"):
        share(tmp_path, runtime_us=5).grant("/../a")
    (tmp_path / "file").touch()
    with pytest.raises(EngineError, match=r"unable to init CPU RT controller: .*file"):
        share(tmp_path, runtime_us=5).grant("/file/a")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
