"""What a create puts into the new root file system."""

from __future__ import annotations

import errno
import os
import stat
import struct
from pathlib import Path

import pytest

from services.containerd import Mount
from services.containers.init_layer import fill_init_layer


@pytest.fixture
def layers(tmp_path: Path) -> list[Path]:
    """An upper directory and two of an image, top first."""
    found = [tmp_path / name for name in ("upper", "top", "bottom")]
    for path in found:
        path.mkdir()
    return found


def fill(layers: list[Path]) -> Path:
    """The upper directory after the call."""
    upper, *lowers = layers
    lowerdir = ":".join(str(path) for path in lowers)
    options = ("workdir=/work", f"upperdir={upper}", f"lowerdir={lowerdir}")
    fill_init_layer([Mount(type="overlay", source="overlay", options=options)])
    return upper


def test_the_writable_layer_is_filled_and_no_other(layers: list[Path]) -> None:
    """On overlayfs the upper directory; the layers of the image stay as they are."""
    upper = fill(layers)
    assert (upper / ".dockerenv").read_bytes() == b""
    assert (upper / "etc/mtab").readlink() == Path("/proc/mounts")
    assert [list(lower.iterdir()) for lower in layers[1:]] == [[], []]


def test_an_image_without_layers_is_one_writable_directory(tmp_path: Path) -> None:
    """The snapshotter then says to bind mount it."""
    fill_init_layer([Mount(type="bind", source=str(tmp_path), options=("rbind", "rw"))])
    assert (tmp_path / ".dockerenv").exists()
    assert (tmp_path / "etc/mtab").is_symlink()


def test_the_directory_has_the_images_attributes(layers: list[Path]) -> None:
    """But for overlayfs's own, which are true of a layer: an opaque one would hide the image's."""
    etc = layers[1] / "etc"
    etc.mkdir()
    wanted = {"user.note": b"one", "system.posix_acl_default": _acl()}
    own = ["user.overlay.opaque"]
    if os.geteuid() == 0:
        wanted["trusted.note"] = b"two"
        own.append("trusted.overlay.origin")
    try:
        for name, value in (*wanted.items(), *((name, b"y") for name in own)):
            os.setxattr(etc, name, value)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        pytest.skip("the folder of the tests is on a file system without such attributes")
    made = fill(layers) / "etc"
    assert {name: os.getxattr(made, name) for name in os.listxattr(made)} == wanted


def _acl() -> bytes:
    """An access list of version 2: all for the owner, reading for the group, a mask, nothing else.

    Source: linux/posix_acl_xattr.h.
    """
    entries = ((0x01, 7), (0x04, 5), (0x10, 7), (0x20, 0))
    return struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", tag, rights, 0xFFFFFFFF) for tag, rights in entries
    )


def test_the_directory_is_as_the_images(layers: list[Path]) -> None:
    """Its topmost one: mode, owner and times are seen from there."""
    for lower, mode in zip(layers[1:], (0o2750, 0o700), strict=True):
        (lower / "etc").mkdir()
        (lower / "etc").chmod(mode)
    if is_root := os.geteuid() == 0:
        os.chown(layers[1] / "etc", 12, 34)
        (layers[1] / "etc").chmod(0o2750)
    os.utime(layers[1] / "etc", ns=(1, 2_000_000_003))
    found = (fill(layers) / "etc").stat()
    assert stat.S_IMODE(found.st_mode) == 0o2750
    assert found.st_mtime_ns == 2_000_000_003
    assert not is_root or (found.st_uid, found.st_gid) == (12, 34)


def test_the_images_own_table_stays(layers: list[Path]) -> None:
    """In whatever layer it is, a link that leads nowhere too."""
    (layers[1] / "etc").mkdir()
    (layers[2] / "etc").mkdir()
    (layers[2] / "etc/mtab").symlink_to("nowhere")
    assert not (fill(layers) / "etc").exists()


def test_a_directory_that_is_a_link_is_not_followed(layers: list[Path]) -> None:
    """Where it leads is the container's affair."""
    (layers[1] / "etc").symlink_to("/usr/etc")
    upper = fill(layers)
    assert not (upper / "etc").exists()
    assert (upper / ".dockerenv").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes whiteouts")
@pytest.mark.parametrize("hides", ["etc", "etc/mtab", "opaque"])
def test_what_a_layer_hides_is_not_there(layers: list[Path], hides: str) -> None:
    """A table below a whiteout, or below an opaque directory, is none."""
    (layers[2] / "etc").mkdir()
    (layers[2] / "etc/mtab").touch()
    if hides != "etc":
        (layers[1] / "etc").mkdir()
    if hides == "opaque":
        os.setxattr(layers[1] / "etc", "trusted.overlay.opaque", b"y")
    else:
        os.mknod(layers[1] / hides, stat.S_IFCHR)
    assert (fill(layers) / "etc/mtab").is_symlink()
