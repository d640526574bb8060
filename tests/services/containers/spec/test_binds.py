"""-v texts and --mount objects: what they mean, and what dockerd says of bad ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.containers.config import (
    BindOptions,
    HostConfig,
    ImageOptions,
    Mount,
    TmpfsOptions,
    VolumeOptions,
)
from services.containers.spec import (
    MountPoint,
    check_bind_sources,
    check_propagation,
    make_bind_sources,
    parse_bind,
    parse_mount,
    parse_mounts,
)
from services.containers.spec.binds import is_valid_mode
from services.containers.spec.mounts import clean_path, merge_tmpfs_options
from services.errors import InvalidParameter

_PART = st.text(st.characters(codec="utf-8", exclude_characters=":/,\0"), min_size=1).filter(
    lambda text: text not in (".", "..") and not is_valid_mode(text)
)
_PATH = st.lists(_PART, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))


@given(source=_PATH, target=_PATH, read_only=st.booleans())
def test_source_and_target_survive(source: str, target: str, read_only: bool) -> None:
    """An absolute source is a bind; both paths come through, and so does the access."""
    point = parse_bind(f"{source}:{target}:{'ro' if read_only else 'rw'}")
    assert (point.type, point.source, point.destination) == ("bind", source, target)
    assert point.rw is not read_only
    assert point.propagation == "rprivate"
    assert point.create_source


@given(name=_PART, target=_PATH)
def test_a_source_that_is_no_path_names_a_volume(name: str, target: str) -> None:
    """And copies the image's data unless told otherwise."""
    point = parse_bind(f"{name}:{target}")
    assert (point.type, point.name, point.source, point.copy_data) == ("volume", name, "", True)
    assert not parse_bind(f"{name}:{target}:nocopy").copy_data


def test_a_single_path_is_an_anonymous_volume() -> None:
    """It has no name until the volume is made."""
    assert parse_bind("/data") == MountPoint(type="volume", destination="/data", copy_data=True)


@given(text=st.text(max_size=30))
def test_no_text_breaks_the_parser(text: str) -> None:
    """Whatever is sent gives a mount point or InvalidParameter."""
    try:
        point = parse_bind(text)
    except InvalidParameter:
        return
    assert point.destination.startswith("/")
    assert point.destination != "/"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid volume specification: ''"),
        (":/x", "invalid volume specification: ':/x'"),
        ("/a:rw", "invalid volume specification: '/a:rw'"),
        ("/a:/b:rw:x", "invalid volume specification: '/a:/b:rw:x'"),
        ("/a:/b:foo", "invalid mode: foo"),
        ("/a:/b:ro,rw", "invalid mode: ro,rw"),
        ("/a:/b:shared,slave", "invalid mode: shared,slave"),
        (
            "/a:/",
            "invalid volume specification: '/a:/': invalid mount config for type \"bind\": "
            "invalid specification: destination can't be '/'",
        ),
        (
            "/a:b",
            "invalid volume specification: '/a:b': invalid mount config for type \"bind\": "
            "invalid mount path: 'b' mount path must be absolute",
        ),
    ],
)
def test_bad_binds_are_refused_in_dockerds_words(text: str, message: str) -> None:
    """The message names what was sent."""
    with pytest.raises(InvalidParameter, match=f"^{re.escape(message)}$"):
        parse_bind(text)


def _bind(**fields: object) -> Mount:
    return Mount(type="bind", source="/s", target="/t", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mount", "reason"),
    [
        (Mount(type="bind", source="/s"), "field Target must not be empty"),
        (Mount(type="bind", target="/t"), "field Source must not be empty"),
        (Mount(type="bind", source="s", target="/t"), "invalid mount path: 's' mount path must be"),
        (Mount(type="what", target="/t"), "mount type unknown"),
        (_bind(volume_options=VolumeOptions()), "field VolumeOptions must not be specified"),
        (_bind(bind_options=BindOptions(propagation="no")), "invalid propagation mode: no"),
        (
            _bind(bind_options=BindOptions(read_only_force_recursive=True)),
            "ReadOnlyForceRecursive requires ReadOnly",
        ),
        (
            Mount(type="volume", target="/t", read_only=True),
            "must not set ReadOnly mode when using anonymous volumes",
        ),
        (
            Mount(type="volume", target="/t", source="v", bind_options=BindOptions()),
            "field BindOptions must not be specified",
        ),
        (Mount(type="tmpfs", target="/t", source="x"), "field Source must not be specified"),
        (
            Mount(type="tmpfs", target="/t", tmpfs_options=TmpfsOptions(options=[["bad"]])),
            "invalid option: bad",
        ),
    ],
)
def test_bad_mounts_are_refused_in_dockerds_words(mount: Mount, reason: str) -> None:
    """The message names the type and the field."""
    start = f'invalid mount config for type "{mount.type}": {reason}'
    with pytest.raises(InvalidParameter, match=f"^{re.escape(start)}"):
        parse_mount(mount)


def test_mounts_of_each_type_become_points() -> None:
    """Options go where the spec looks for them."""
    tmpfs = TmpfsOptions(size_bytes=2 << 20, mode=0o700, options=[["exec"]])
    points = parse_mounts(
        HostConfig(
            mounts=[
                _bind(bind_options=BindOptions(propagation="rslave", non_recursive=True)),
                Mount(type="tmpfs", target="/a/b", tmpfs_options=tmpfs, read_only=True),
                Mount(type="volume", source="v", target="/v"),
                Mount(
                    type="image", source="i", target="/i", image_options=ImageOptions(subpath="p")
                ),
            ]
        )
    )
    by_destination = {point.destination: point for point in points}
    assert by_destination["/t"].propagation == "rslave"
    assert not by_destination["/t"].recursive
    assert by_destination["/a/b"].tmpfs_data == "ro,mode=700,size=2m,exec"
    assert by_destination["/v"].name == "v"
    assert by_destination["/i"].subpath == "p"
    assert points[-1].destination == "/a/b"


@pytest.mark.parametrize(
    "host",
    [
        HostConfig(binds=["/a:/x", "/b:/x/"]),
        HostConfig(binds=["/a:/x"], mounts=[Mount(type="tmpfs", target="/x")]),
        HostConfig(binds=["/a:/x"], tmpfs={"/x": ""}),
    ],
)
def test_two_mounts_on_one_place_are_refused(host: HostConfig) -> None:
    """Across all the ways to ask for one, and after cleaning paths."""
    with pytest.raises(InvalidParameter, match=r"^Duplicate mount point: /x$"):
        parse_mounts(host)


def test_binds_across_the_data_root_are_slaves() -> None:
    """Else a container would pin the mounts of others; private is refused there."""
    assert parse_bind("/var/lib/w/x:/x", data_root="/var/lib/w").propagation == "rslave"
    assert parse_bind("/:/host", data_root="/var/lib/w").propagation == "rslave"
    assert parse_bind("/var/lib/wx:/x", data_root="/var/lib/w").propagation == "rprivate"
    with pytest.raises(InvalidParameter, match="must use either propagation mode"):
        parse_bind("/var:/x:private", data_root="/var/lib/w")


def test_sources_are_checked_or_made(tmp_path: Path) -> None:
    """--mount needs its source; -v has it made, and a file in the way is told."""
    missing = tmp_path / "a/b"
    mount = parse_mount(Mount(type="bind", source=str(missing), target="/t"))
    with pytest.raises(InvalidParameter, match=f"bind source path does not exist: {missing}"):
        check_bind_sources([mount])
    made = parse_bind(f"{missing}:/t")
    check_bind_sources([made])
    make_bind_sources([made])
    assert missing.is_dir()
    check_bind_sources([mount])
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidParameter, match="error while creating mount source path"):
        make_bind_sources([parse_bind(f"{tmp_path}/file/x:/t")])


def test_shared_and_slave_binds_need_such_a_mount_below(tmp_path: Path) -> None:
    """What the user asked for is checked against the host's mounts; our own choice is not."""
    private = f"1 0 8:1 / {tmp_path} rw - ext4 /dev/x rw\n"
    shared = f"1 0 8:1 / {tmp_path} rw shared:5 - ext4 /dev/x rw\n"
    slave = f"1 0 8:1 / {tmp_path} rw master:5 - ext4 /dev/x rw\n"
    (tmp_path / "s").mkdir()
    asked = [parse_bind(f"{tmp_path}/s:/t:rshared")]
    slaved = [parse_bind(f"{tmp_path}/s:/t:rslave")]
    ours = [parse_bind(f"{tmp_path}/s:/t", data_root=str(tmp_path))]
    check_propagation(asked, lambda: shared)
    check_propagation(slaved, lambda: slave)
    check_propagation(ours, lambda: private)
    with pytest.raises(InvalidParameter, match="but it is not a shared mount"):
        check_propagation(asked, lambda: slave)
    with pytest.raises(InvalidParameter, match="but it is not a shared or slave mount"):
        check_propagation(slaved, lambda: private)


@given(path=st.text(alphabet="/.ab", max_size=12))
def test_cleaned_paths_stay_below_the_root(path: str) -> None:
    """No dots, no double slashes, and cleaning again changes nothing."""
    cleaned = clean_path(path)
    assert cleaned.startswith("/")
    assert clean_path(cleaned) == cleaned
    assert not {"", ".", ".."} & set(cleaned.split("/")[1:]) or cleaned == "/"


def test_later_tmpfs_options_win() -> None:
    """One of each family is kept, in order; unknown ones are refused."""
    merged = merge_tmpfs_options(["noexec", "nosuid", "rprivate", "size=1m", "exec", "size=2m"])
    assert merged == ["nosuid", "rprivate", "exec", "size=2m"]
    with pytest.raises(InvalidParameter, match=re.escape('invalid tmpfs option ["foo" "1"]')):
        merge_tmpfs_options(["foo=1"])
