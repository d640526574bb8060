"""Namespaces of the tests' own, and clients in them."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.networks.kernel.netns import drop_namespace, make_namespace


@pytest.fixture
def namespace(tmp_path: Path) -> Iterator[Path]:
    """A network namespace with its loopback up, and nothing else."""
    path = tmp_path / f"netns-{secrets.token_hex(3)}"
    make_namespace(path).close()
    subprocess.run(["nsenter", f"--net={path}", "ip", "link", "set", "lo", "up"], check=True)
    yield path
    drop_namespace(path)
