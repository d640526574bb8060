"""Runtimes by name: binaries, their arguments, shims and their options."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from services.containers.runtimes import RUNC_V2, Runtimes, is_shim_name
from services.errors import InvalidParameter


@dataclasses.dataclass(frozen=True, kw_only=True)
class Added:
    """One of --add-runtime or daemon.json."""

    name: str
    path: str = ""
    arguments: tuple[str, ...] = ()
    type: str = ""
    options: Mapping[str, bool | int | str] = dataclasses.field(default_factory=dict)


def runtimes(folder: Path, *added: Added) -> Runtimes:
    """Those of a daemon with the systemd driver."""
    return Runtimes(
        lambda: added,
        state_directory=Path("/state"),
        scripts=folder / "scripts",
        systemd_cgroup=True,
    )


@pytest.mark.parametrize("name", ["", "runc", RUNC_V2])
def test_runc_has_many_names(tmp_path: Path, name: str) -> None:
    """Its records lie in a folder of this engine's."""
    shim, options = runtimes(tmp_path).resolve(name)
    assert shim == RUNC_V2
    assert options is not None
    assert (options.binary_name, options.root, options.systemd_cgroup) == ("", "/state", True)


def test_a_binary_is_called_by_runcs_shim(tmp_path: Path) -> None:
    """With runc's options."""
    shim, options = runtimes(tmp_path, Added(name="crun", path="/bin/crun")).resolve("crun")
    assert shim == RUNC_V2
    assert options is not None
    assert (options.binary_name, options.root) == ("/bin/crun", "/state")
    assert not (tmp_path / "scripts").exists()


def test_a_binarys_arguments_come_first(tmp_path: Path) -> None:
    """By a script, since the shim knows of a path only; also with what a shell would read."""
    known = runtimes(
        tmp_path, Added(name="my/run", path="/bin/echo", arguments=("a b", "$HOME", "'"))
    )
    _, options = known.resolve("my/run")
    assert options is not None
    ran = subprocess.run(
        [options.binary_name, "create", "x y"], capture_output=True, text=True, check=True
    )
    assert ran.stdout == "a b $HOME ' create x y\n"
    assert known.resolve("my/run")[1] == options
    assert len(list((tmp_path / "scripts").iterdir())) == 1


def test_a_shim_has_its_options(tmp_path: Path) -> None:
    """They come over the engine's own."""
    options: dict[str, bool | int | str] = {
        "binary_name": "/bin/x",
        "root": "/r",
        "no_pivot_root": True,
    }
    known = runtimes(tmp_path, Added(name="mine", type=RUNC_V2, options=options))
    shim, found = known.resolve("mine")
    assert shim == RUNC_V2
    assert found is not None
    assert (found.binary_name, found.root, found.no_pivot_root) == ("/bin/x", "/r", True)
    assert found.systemd_cgroup


def test_other_shims_have_none(tmp_path: Path) -> None:
    """Whether it was added by a name of its own, or is asked for by containerd's."""
    known = runtimes(tmp_path, Added(name="kata", type="io.containerd.kata.v2"))
    assert known.resolve("kata") == ("io.containerd.kata.v2", None)
    assert known.resolve("io.containerd.runsc.v1") == ("io.containerd.runsc.v1", None)


@pytest.mark.parametrize("name", ["crun", "/bin/x.v2", ".x.v2", "a/b.c"])
def test_what_is_none(tmp_path: Path, name: str) -> None:
    """A path would have containerd run any program."""
    assert not is_shim_name(name)
    with pytest.raises(InvalidParameter, match="unknown or invalid runtime name: "):
        runtimes(tmp_path).resolve(name)
