"""What a start imports: nothing that the first answered ping does not need."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Collection
from itertools import takewhile
from pathlib import Path
from typing import Final

import pytest

import supervisor
from supervisor.faces import first_uses
from tests.support.daemon import wait_until
from tests.support.fixtures import DaemonFactory

LATE: Final = {  # what it is: who imports it
    "quart": "the routes, once servers accept",
    "werkzeug": "the routes",
    "hypercorn": "a connection that is handed over to it",
    "prometheus_client": "the first scrape",
    "httpx": "the first word with a registry",
    "cryptography": "certificates, and networks that are encrypted",
    "zstandard": "the first archive",
    "tarfile": "the first archive that is written",
    "yaml": "CDI files that are written in it",
    "fractions": "routes that read times",
    "services.cluster": "a node that is in a swarm",
    "services.audit": "the routes",
    "services.api.front.observer_door": "an observer with an address",
    "services.api.listening.tls": "an API with TLS",
    "services.api.routes": "the routes",
    "services.api.streams": "the routes",
    "services.api.access.judged_answer": "requests that plugins judge",
    "services.build.under_way": "the first build",
    "services.dockerfile": "the first build",
    "services.containers.archives.archives": "the first copy",
    "services.containers.commit": "the first commit",
    "services.containers.cdi.schema": "CDI files",
    "services.containers.logs.remote.log": "containers whose log is sent elsewhere",
    "services.containers.spec.build": "the first start of a container",
    "services.containers.spec.seccomp": "the first start of a container",
    "services.containers.spec.validation": "the first create",
    "services.containers.stdio.stdio": "the first streams",
    "services.images.compose": "the first commit",
    "services.images.compression": "the first archive",
    "services.images.load": "the first load",
    "services.images.remover": "the first removal",
    "services.images.save": "the first save",
    "services.networks.dns.serving": "the first container that is served",
    "services.networks.drivers.esp": "networks that are encrypted",
    "services.networks.planning.plan": "the first network that is made",
    "services.networks.nft.table_listing": "audits",
    "services.registry.engine": "the first word with a registry",
    "services.registry.requests": "the routes",
    "supervisor.engine.audit": "the first audit",
    "supervisor.faces.cluster_build": "a node that is in a swarm",
    "supervisor.reloading.event": "the first reload",
    "supervisor.reloading.plan": "the first reload",
    "supervisor.reloading.steps": "the first reload",
}

OURS_AT_MOST: Final = 540
"""Modules of ours by the first ping. Each takes a third of a millisecond: what makes this more is
worth a look at who needs it, and when."""

PROGRAM: Final = (
    "import sys\n"
    "import supervisor.start, supervisor.cli, supervisor.daemon, supervisor.faces.quick_routes\n"
    "print(*sys.modules)\n"
)


def too_early(imported: Collection[str]) -> list[str]:
    """What of `LATE` is among them, or anything below it."""
    return sorted(
        name
        for name in imported
        if any(name == late or name.startswith(f"{late}.") for late in LATE)
    )


@pytest.fixture(scope="module")
def imported() -> Collection[str]:
    """What the modules of a start bring along."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_the_modules_of_a_start_bring_nothing_along_that_is_for_later(
    imported: Collection[str],
) -> None:
    """By name, because seconds are another machine's."""
    assert "supervisor.faces.quick_routes" in imported
    assert too_early(imported) == []


def test_a_start_keeps_to_its_number_of_modules(imported: Collection[str]) -> None:
    """Of ours; how many a library has is its own affair."""
    ours = [name for name in imported if name.startswith(("services", "supervisor", "protos"))]
    assert len(ours) <= OURS_AT_MOST


def test_a_package_of_the_daemon_brings_nothing_along() -> None:
    """Whoever imports one of its modules imports that one only. The runtime gathers its names."""
    root = Path(supervisor.__path__[0])
    packages = [path.parent for path in root.rglob("__init__.py") if path.parent.name != "otp"]
    assert root / "configuration" / "sections" in packages
    bringing = [
        str(package)
        for package in packages
        if re.search(
            r"^(from|import) (\.|services|supervisor)",
            (package / "__init__.py").read_text(),
            re.MULTILINE,
        )
    ]
    assert bringing == []


def test_what_is_for_later_is_there_when_it_is_wanted() -> None:
    """Each name is a module still: one that was renamed would be guarded no more."""
    program = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\n"
    names = [*LATE, *first_uses.MODULES]
    done = subprocess.run([sys.executable, "-c", program, *names], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_daemon_imports_nothing_of_it_before_its_routes(
    make_daemon: DaemonFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a function on its way does: quart comes when servers may accept."""
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    daemon = make_daemon()

    def names() -> list[str]:
        rows = [line for line in daemon.log_text().splitlines() if line.startswith("import time:")]
        return [row.rpartition("|")[2].strip() for row in rows]

    last = {"supervisor.faces.routes", *first_uses.MODULES}
    wait_until(lambda: last <= set(names()), "the routes and what follows", limit_s=60)
    of_quart = ("quart", "werkzeug", "jinja2", "flask", "markupsafe", "blinker", "aiofiles")
    before = list(takewhile(lambda name: name.partition(".")[0] not in of_quart, names()))
    assert "supervisor.faces.quick_routes" in before
    assert too_early(before) == []
