"""Fixtures with real daemons: one that tests share, and fresh ones."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack

import pytest

from tests.support.daemon import Daemon, running_daemon

DaemonFactory = Callable[..., Daemon]

LOG_TAIL_CHARS = 6000


@pytest.fixture(scope="session")
def shared_daemon() -> Iterator[Daemon]:
    """One daemon for all tests of a worker; tests ask for `daemon`."""
    with running_daemon() as daemon:
        yield daemon


@pytest.fixture
def daemon(shared_daemon: Daemon) -> Iterator[Daemon]:
    """The shared daemon without containers; fails a test that makes it write a traceback.

    Its images are everybody's: who adds or removes one has to put it right again.
    """
    since = shared_daemon.log_file.stat().st_size
    yield shared_daemon
    shared_daemon.remove_containers()
    shared_daemon.remove_networks()
    assert shared_daemon.image_names() == ["busybox:latest"], "a test left other images"
    log = shared_daemon.log_text(since=since)
    assert "Traceback" not in log, log[-LOG_TAIL_CHARS:]


@pytest.fixture
def make_daemon() -> Iterator[DaemonFactory]:
    """Makes daemons of the test's own: the arguments are `running_daemon`'s."""
    with ExitStack() as stack:
        yield lambda *flags, **options: stack.enter_context(running_daemon(*flags, **options))


@pytest.fixture
def fresh_daemon(make_daemon: DaemonFactory) -> Daemon:
    """A daemon that no other test has used or will use: it may be killed."""
    return make_daemon()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the daemon's last words with the failure of a test that used one."""
    report = yield
    arguments = getattr(item, "funcargs", {})
    for name in ("daemon", "fresh_daemon"):
        daemon = arguments.get(name)
        if report.failed and isinstance(daemon, Daemon):
            report.sections.append((f"log of {name}", daemon.log_text()[-LOG_TAIL_CHARS:]))
    return report
