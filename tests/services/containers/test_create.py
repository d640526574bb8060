"""What a create does to the new root file system."""

from __future__ import annotations

from pathlib import Path

from services.containerd import Mount
from services.containers.create import mark_as_container


def test_the_writable_layer_is_marked_and_no_other(tmp_path: Path) -> None:
    """On overlayfs the upper directory; the layers of the image stay as they are."""
    upper, lower = tmp_path / "upper", tmp_path / "lower"
    upper.mkdir()
    lower.mkdir()
    options = (f"workdir={tmp_path}/work", f"upperdir={upper}", f"lowerdir={lower}")
    mark_as_container([Mount(type="overlay", source="overlay", options=options)])
    assert (upper / ".dockerenv").read_bytes() == b""
    assert list(lower.iterdir()) == []


def test_an_image_without_layers_is_one_writable_directory(tmp_path: Path) -> None:
    """The snapshotter then says to bind mount it."""
    mark_as_container([Mount(type="bind", source=str(tmp_path), options=("rbind", "rw"))])
    assert (tmp_path / ".dockerenv").exists()
