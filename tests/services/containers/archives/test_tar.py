"""Archives made and extracted: what goes in comes out, and hostile ones reach nothing outside."""

from __future__ import annotations

import io
import os
import socket
import stat
import tarfile
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.containers.archives.pack import pack
from services.containers.archives.root import Root
from services.containers.archives.unpack import Rules, unpack
from services.errors import InvalidParameter

OWN = Rules(owner=(os.geteuid(), os.getegid()))
KINDS = st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE])
PARTS = st.sampled_from(["a", "b", "in", "..", ".", "", "x" * 300, "\udcff", "outside"])
NAMES = st.builds(
    lambda head, parts: head + "/".join(parts),
    st.sampled_from(["", "/", "../", "../../", "./"]),
    st.lists(PARTS, min_size=1, max_size=4),
)
ENTRIES = st.lists(st.tuples(KINDS, NAMES, NAMES), max_size=8)


def opened(folder: Path) -> Root:
    return Root(fd=os.open(folder, os.O_PATH | os.O_DIRECTORY))


def archive(*members: tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for member in members:
            info, data = member if isinstance(member, tuple) else (member, b"")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def extract(folder: Path, data: bytes, path: str = "/", rules: Rules = OWN) -> None:
    with opened(folder) as root:
        unpack(root, path, io.BytesIO(data).read, rules)


def packed(folder: Path, path: str = "/", top: str | None = None) -> bytes:
    pieces: list[bytes] = []
    with opened(folder) as root:
        pack(root, path, top, pieces.append)
    return b"".join(pieces)


def everything(folder: Path) -> dict[str, tuple[object, ...]]:
    """All below a folder: kind, mode, content, time."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content: object = None
        if stat.S_ISREG(status.st_mode):
            content = path.read_bytes()
        elif stat.S_ISLNK(status.st_mode):
            content = path.readlink()
        name = str(path.relative_to(folder))
        found[name] = (status.st_mode, content, int(status.st_mtime))
    return found


@given(entries=ENTRIES, place=st.sampled_from(["/", "/deep/er"]))
def test_no_archive_writes_outside(entries: list[tuple[bytes, str, str]], place: str) -> None:
    """Links, dots and absolute names in any combination: refused, or kept inside."""
    with tempfile.TemporaryDirectory() as folder:
        top, beside = Path(folder, "top"), Path(folder, "outside")
        (top / "deep/er").mkdir(parents=True)
        beside.mkdir()
        (beside / "file").write_text("kept")
        before = everything(beside)
        members = [entry(name, kind, target) for kind, name, target in entries]
        with suppress(InvalidParameter):
            extract(top, archive(*members), place)
        assert everything(beside) == before
        assert sorted(os.listdir(folder)) == ["outside", "top"]


@given(
    files=st.dictionaries(
        st.text(st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]),
                min_size=1, max_size=60).filter(lambda n: n not in (".", "..")
                                                and len(n.encode()) < 200),
        st.tuples(st.binary(max_size=2000), st.sampled_from([0o644, 0o4755, 0o600])),
        max_size=5,
    )
)  # fmt: skip
def test_what_goes_in_comes_out(files: dict[str, tuple[bytes, int]]) -> None:
    """Names, bytes, modes and times survive the way out and in again."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "source"), Path(folder, "target")
        (source / "d").mkdir(parents=True)
        target.mkdir()
        for name, (data, mode) in files.items():
            (source / "d" / name).write_bytes(data)
            (source / "d" / name).chmod(mode)
            os.utime(source / "d" / name, (1, 12345))
        (source / "link").symlink_to("d")
        os.mkfifo(source / "fifo", 0o640)
        extract(target, packed(source))
        assert everything(target) == everything(source)


def test_hard_links_stay_links(tmp_path: Path) -> None:
    """The second name of a file is a link to the first, there as here; a socket is left out."""
    source, target = tmp_path / "s", tmp_path / "t"
    source.mkdir()
    target.mkdir()
    (source / "a").write_text("once")
    os.link(source / "a", source / "b")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(source / "sock"))
    data = packed(source)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert [(m.name, m.type, m.linkname) for m in tar] == [
            ("a", tarfile.REGTYPE, ""),
            ("b", tarfile.LNKTYPE, "a"),
        ]
    extract(target, data)
    assert (target / "a").samefile(target / "b")


@pytest.mark.parametrize(
    ("top", "names"),
    [(None, ["d", "d/f"]), ("", ["", "/d", "/d/f"]), (".", [".", "./d", "./d/f"]),
     ("x", ["x", "x/d", "x/d/f"])],
)  # fmt: skip
def test_names_of_entries(tmp_path: Path, top: str | None, names: list[str]) -> None:
    """An export begins inside; a copy begins with what was asked for."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").touch()
    with tarfile.open(fileobj=io.BytesIO(packed(tmp_path, top=top))) as tar:
        assert [member.name for member in tar] == names


def test_a_file_that_changes_while_it_is_read(tmp_path: Path) -> None:
    """The header's size counts: the archive stays whole."""
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)
    pieces: list[bytes] = []

    def send(piece: bytes) -> None:
        os.truncate(tmp_path / "a", 10)
        pieces.append(piece)

    with opened(tmp_path) as root:
        pack(root, "/", None, send)
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
        assert [member.size for member in tar] == [3_000_000]


BOMB = entry("x" * 65536)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (archive(entry("../evil")), 'is outside of "/in"'),
        (archive(entry("a/../../evil")), 'is outside of "/in"'),
        (archive(entry("l", tarfile.SYMTYPE, "../../x")), 'invalid symlink "/in/l" -> "../../x"'),
        (archive(entry("l", tarfile.LNKTYPE, "../evil")), 'invalid hardlink "/in/l"'),
        (archive(entry("l", tarfile.LNKTYPE, "missing")), "cannot extract l: No such file"),
        (archive(entry("l", tarfile.SYMTYPE, "")), 'invalid symlink "/in/l" -> ""'),
        (archive(BOMB), "longer than 4096"),
        (archive(entry("y" * 300)), "File name too long"),
        (archive((entry("f"), b"x" * 2000))[:1500], "unexpected EOF"),
        (archive(entry("l", tarfile.SYMTYPE, "l"), entry("l/f")), "Too many levels|symbolic"),
        (archive(entry("f"), entry("f/below")), "Not a directory"),
        (archive(entry(".")), "cannot overwrite directory"),
    ],
)
def test_hostile_archives_are_refused(tmp_path: Path, data: bytes, words: str) -> None:
    """With a reason; nothing outside is touched, and no half file stays."""
    (tmp_path / "evil").write_text("kept")
    (tmp_path / "in").mkdir()
    with pytest.raises(InvalidParameter, match=words):
        extract(tmp_path, data, "/in")
    assert (tmp_path / "evil").read_text() == "kept"
    assert not (tmp_path / "in" / "f").exists() or (tmp_path / "in" / "f").stat().st_size == 0
    assert sorted(os.listdir(tmp_path)) == ["evil", "in"]


def test_a_link_inside_is_no_way_out(tmp_path: Path) -> None:
    """An absolute link means the tree's own root, and an entry through it lands there."""
    top = tmp_path / "top"
    (top / "in").mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    data = archive(entry("l", tarfile.SYMTYPE, "/etc"), (entry("l/f"), b"x"))
    with suppress(InvalidParameter):
        extract(top, data, "/in")
    assert os.listdir(tmp_path / "etc") == []
    assert not Path("/etc/f").exists()


def test_the_last_of_several_counts(tmp_path: Path) -> None:
    """An entry replaces what was there under its name, a link too, which is not followed."""
    (tmp_path / "aim").write_text("kept")
    data = archive(entry("f", tarfile.SYMTYPE, "aim"), (entry("f"), b"one"), (entry("f"), b"two"))
    extract(tmp_path, data)
    assert (tmp_path / "f").read_bytes() == b"two"
    assert (tmp_path / "aim").read_text() == "kept"


def test_a_directory_and_something_else(tmp_path: Path) -> None:
    """Each replaces the other, unless that was forbidden."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "below").touch()
    (tmp_path / "f").touch()
    strict = Rules(owner=OWN.owner, keeps_directories=True)
    with pytest.raises(InvalidParameter, match='overwrite directory "/d" with non-directory "/"'):
        extract(tmp_path, archive(entry("d")), rules=strict)
    with pytest.raises(InvalidParameter, match='overwrite non-directory "/f" with directory "/"'):
        extract(tmp_path, archive(entry("f", tarfile.DIRTYPE)), rules=strict)
    extract(tmp_path, archive(entry("d"), entry("f", tarfile.DIRTYPE)))
    assert ((tmp_path / "d").is_file(), (tmp_path / "f").is_dir()) == (True, True)


def test_directories_on_the_way_are_made(tmp_path: Path) -> None:
    """And a directory has the time that the archive says, though files came after it."""
    directory = entry("d", tarfile.DIRTYPE)
    directory.mtime, directory.mode = 77, 0o700
    extract(tmp_path, archive(directory, entry("d/f"), entry("new/er/f")))
    assert (tmp_path / "d").stat().st_mtime == 77
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o700
    assert (tmp_path / "new" / "er" / "f").is_file()
