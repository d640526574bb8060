"""services.lazily: packages whose names are imported when they are asked for."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAZY = sorted(
    path
    for path in (ROOT / "services").rglob("__init__.py")
    if "lazily.exports(" in path.read_text()
)
HEAVY = ("asyncio", "betterproto2", "grpclib", "httpx", "msgspec", "quart", "trio")


@pytest.mark.parametrize("path", LAZY, ids=lambda path: str(path.parent.relative_to(ROOT)))
def test_what_a_package_promises_is_there(path: Path) -> None:
    """Every name that type checkers see, and no other."""
    package = ".".join(path.parent.relative_to(ROOT).parts)
    (block,) = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.If)]
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    promised = {alias.name for node in imports for alias in node.names}
    module = importlib.import_module(package)
    assert {name for name in promised if not hasattr(module, name)} == set()
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        module.nonsense  # noqa: B018
    assert LAZY


def test_settings_are_read_without_anything_heavy() -> None:
    """What comes before containerd's start, and what `--help` needs."""
    script = "import sys, supervisor.start, supervisor.cli; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert [name for name in HEAVY if name in done.stdout.split()] == []
