"""Thawing past the shim: what is written where."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from services.containers.container import Container
from services.containers.model import State
from services.containers.thaw import Thaw
from tests.services.containers.support import container


class Folders:
    """A cgroup's folder for each controller, or one for all."""

    def __init__(self, root: Path, *, is_unified: bool) -> None:
        self.root, self.is_unified = root, is_unified

    def folder(self, container: Container, controller: str) -> Path:
        return self.root if self.is_unified else self.root / controller


@pytest.mark.parametrize(
    ("is_unified", "file", "text"),
    [(True, "cgroup.freeze", "0"), (False, "freezer/freezer.state", "THAWED")],
)
def test_what_is_written(tmp_path: Path, is_unified: bool, file: str, text: str) -> None:
    """The kernel's word for it, by version; a cgroup that has gone is no error."""
    thaw = Thaw(cast(Any, Folders(tmp_path, is_unified=is_unified)))
    (tmp_path / file).parent.mkdir(exist_ok=True)
    thaw(container(State.PAUSED))
    assert (tmp_path / file).read_text() == text
    Thaw(cast(Any, Folders(tmp_path / "gone", is_unified=is_unified)))(container(State.PAUSED))
