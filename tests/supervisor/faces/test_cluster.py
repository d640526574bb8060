"""An engine that is in no swarm has nothing of one: no module of it is imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.fixtures import DaemonFactory

OF_SWARMS = ("services.cluster", "protos.generated.etcdserverpb", "protos.generated.cluster")


def test_the_daemons_modules_import_none_of_it() -> None:
    """Not the tree, not the parts, not the routes."""
    program = (
        "import sys\n"
        "import supervisor.daemon, supervisor.parts, supervisor.tree, supervisor.faces.routes\n"
        f"found = [name for name in sys.modules if name.startswith({OF_SWARMS})]\n"
        "assert not found, found\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_daemon_imports_none_of_it(
    make_daemon: DaemonFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is asked of it, as long as nobody begins a swarm."""
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    daemon = make_daemon()
    daemon.docker("info")
    daemon.docker("ps", "-a")
    daemon.docker("network", "ls")
    daemon.docker("service", "ls", code=1)
    daemon.docker("node", "ls", code=1)
    daemon.docker("swarm", "leave", code=1)
    imported = {
        line.rpartition("|")[2].strip()
        for line in daemon.log_text().splitlines()
        if line.startswith("import time:")
    }
    assert "supervisor.faces.routes" in imported
    assert not {name for name in imported if name.startswith(OF_SWARMS)}
