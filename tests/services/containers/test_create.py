"""What a create does to the new root file system, and says of what it leaves out."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from services.containerd import Mount
from services.containers.create import _passed_over, mark_as_container
from services.images import RunConfig


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


def test_volumes_of_the_image_are_told_to_be_passed_over() -> None:
    """Their data lies in the container's own layer, and goes with it."""

    def image(volumes: dict[str, Any] | None) -> Any:
        return SimpleNamespace(config=SimpleNamespace(config=RunConfig(volumes=volumes)))

    assert _passed_over(cast(Any, image(None))) == []
    (warning,) = _passed_over(cast(Any, image({"/data": {}, "/cache": {}})))
    assert "/cache, /data" in warning
