"""Users and groups: by name, by number, from real layers and from hostile ones."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.containers.spec import (
    AccountFiles,
    ResolvedUser,
    read_account_files,
    read_account_files_in,
    resolve_user,
)
from services.containers.spec import account_files as module
from services.errors import EngineError, InvalidParameter
from services.system import roots

FILES = AccountFiles(
    passwd=b"root:x:0:0:root:/root:/bin/sh\n\n# note\nweb:x:1000:1001::/home/web:/bin/sh\n"
    b"web:x:7:7::/second:/bin/sh\n42:x:9:9::/nine:\n",
    group=b"root:x:0:root\nweb:x:1001:\naudio:x:29:web,root\nvideo:x:44:web\n77:x:5:\n",
)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("", ResolvedUser(uid=0, gid=0, groups=(0, 29), home="/root")),
        ("root", ResolvedUser(uid=0, gid=0, groups=(0, 29), home="/root")),
        ("web", ResolvedUser(uid=1000, gid=1001, groups=(29, 44), home="/home/web")),
        ("1000", ResolvedUser(uid=1000, gid=1001, groups=(29, 44), home="/home/web")),
        ("web:audio", ResolvedUser(uid=1000, gid=29, home="/home/web")),
        ("web:4242", ResolvedUser(uid=1000, gid=4242, home="/home/web")),
        ("4242", ResolvedUser(uid=4242, gid=0, home="/")),
        ("4242:video", ResolvedUser(uid=4242, gid=44, home="/")),
        ("42", ResolvedUser(uid=42, gid=0, home="/")),
        (":audio", ResolvedUser(uid=0, gid=29, home="/root")),
    ],
)
def test_users_resolve_as_with_runc(spec: str, expected: ResolvedUser) -> None:
    """The first match counts, numbers are never names, an explicit group drops the others."""
    assert resolve_user(spec, FILES) == expected


def test_additional_groups_by_name_and_number() -> None:
    """Appended once each; here a name that looks like a number is found too."""
    user = resolve_user("web", FILES, ["video", "29", "1234", "77"])
    assert user.groups == (29, 44, 1234, 5)


@pytest.mark.parametrize(
    ("spec", "groups", "message"),
    [
        ("nobody", (), "unable to find user nobody: no matching entries in passwd file"),
        ("web:none", (), "unable to find group none: no matching entries in group file"),
        ("web", ("none",), "Unable to find group none: no matching entries in group file"),
        ("2147483648", (), "uids and gids must be in range 0-2147483647"),
        ("-1", (), "uids and gids must be in range 0-2147483647"),
        ("9" * 5000, (), "uids and gids must be in range 0-2147483647"),
    ],
)
def test_what_is_not_there_is_refused_in_dockerds_words(
    spec: str, groups: Sequence[str], message: str
) -> None:
    """The message names what was looked for."""
    with pytest.raises(InvalidParameter, match=re.escape(message)):
        resolve_user(spec, FILES, groups)


@given(passwd=st.binary(max_size=200), group=st.binary(max_size=200), spec=st.text(max_size=20))
def test_no_account_file_breaks_the_parser(passwd: bytes, group: bytes, spec: str) -> None:
    """Images are hostile: whatever is in them gives a user or InvalidParameter."""
    try:
        user = resolve_user(spec, AccountFiles(passwd=passwd, group=group))
    except InvalidParameter:
        return
    assert user.home


@dataclass(frozen=True)
class FakeMount:
    type: str
    source: str
    options: Sequence[str] = ()


def _layer(root: Path, **files: str) -> Path:
    (root / "etc").mkdir(parents=True)
    for name, text in files.items():
        (root / "etc" / name).write_text(text)
    return root


def _overlay(*layers: Path, upper: Path | None = None) -> list[FakeMount]:
    options = ["index=off", "lowerdir=" + ":".join(map(str, layers))]
    if upper is not None:
        options += [f"upperdir={upper}", f"workdir={upper}.work"]
    return [FakeMount("overlay", "overlay", options)]


def test_a_single_layer_is_read_where_it_is(tmp_path: Path) -> None:
    """No mount is needed; a missing file counts as empty."""
    layer = _layer(tmp_path / "l", passwd="a:x:1:1::/:\n")
    files = read_account_files([FakeMount("bind", str(layer), ["ro", "rbind"])])
    assert files == AccountFiles(passwd=b"a:x:1:1::/:\n", group=b"")


def test_links_and_odd_files_cannot_lead_out(tmp_path: Path) -> None:
    """Absolute links are the container's; a FIFO or a directory neither blocks nor is read."""
    secret = tmp_path / "secret"
    secret.write_text("root:x:0:0::/:\n")
    layer = _layer(tmp_path / "l")
    for target in (str(secret), f"../../../../..{secret}", "/proc/self/environ"):
        (layer / "etc/passwd").unlink(missing_ok=True)
        (layer / "etc/passwd").symlink_to(target)
        assert read_account_files_in(layer).passwd == b""
    os.mkfifo(layer / "etc/group")
    (layer / "etc/passwd").unlink()
    (layer / "etc/passwd").mkdir()
    assert read_account_files_in(layer) == AccountFiles()
    (layer / "etc/inside").write_text("x:x:5:5::/:\n")
    (layer / "etc/passwd").rmdir()
    (layer / "etc/passwd").symlink_to("/etc/inside")
    assert read_account_files_in(layer).passwd == b"x:x:5:5::/:\n"


def test_huge_files_are_cut(tmp_path: Path) -> None:
    """At most the bound is read."""
    layer = _layer(tmp_path / "l")
    with (layer / "etc/passwd").open("wb") as file:
        file.truncate(module.MAX_FILE_BYTES * 4)
    assert len(read_account_files_in(layer).passwd) == module.MAX_FILE_BYTES


def test_a_root_that_is_gone_is_an_engine_error(tmp_path: Path) -> None:
    """The process may have ended between two looks."""
    with pytest.raises(EngineError, match="cannot read the accounts"):
        read_account_files_in(tmp_path / "gone")
    with pytest.raises(EngineError, match="not supported"):
        read_account_files([FakeMount("zfs", "x")])


@pytest.mark.engine
def test_layers_are_merged_without_leaving_a_mount(tmp_path: Path) -> None:
    """The upper layer hides the lower ones, a whiteout removes; nothing stays mounted."""
    low = _layer(tmp_path / "low", passwd="low\n", group="low\n")
    middle = _layer(tmp_path / "middle", passwd="middle\n")
    upper = _layer(tmp_path / "upper")
    os.mknod(upper / "etc/group", 0o20000, os.makedev(0, 0))
    files = read_account_files(_overlay(middle, low, upper=upper))
    assert files == AccountFiles(passwd=b"middle\n", group=b"")
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    assert list((tmp_path / "upper").iterdir()) == [upper / "etc"]


@pytest.mark.engine
@pytest.mark.parametrize("count", [2, 40])
def test_the_fallback_reads_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Without the new mount calls a thread's own namespace serves, with many layers too."""

    def refuse(*_: object) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(roots, "_configured_overlay", refuse)
    layers = [_layer(tmp_path / ("x" * 60) / f"{n:03}", **{f"f{n}": ""}) for n in range(count)]
    (layers[-1] / "etc/passwd").write_text("deep\n")
    here = Path.cwd()
    assert read_account_files(_overlay(*layers)).passwd == b"deep\n"
    assert Path.cwd() == here
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
