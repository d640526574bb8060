"""What every test shares: async tests run under trio, on a clock of their own if they ask."""

from __future__ import annotations

import functools
import inspect
import os
import signal
import sys
from typing import Any, Final

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, settings

from tests.support.clocks import jumping_clock

pytest_plugins = ["tests.support.fixtures"]

USUAL_LIMIT_S: Final = 240.0  # as in pyproject.toml


# Without compiled modules each daemon that a test starts compiles all of itself, half a second of
# processor; each worker of a parallel run rewrites all test modules' assertions, ten seconds.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A rule holds or not; how long a machine takes over it, with other tests beside, says nothing.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_configure() -> None:
    """A shell that runs us in the background has SIGINT ignored, and so have our children.

    Clients under test are interrupted by it.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long ones first: who comes to one at the end keeps everybody waiting."""
    items.sort(key=_time_limit_s, reverse=True)


def _time_limit_s(item: pytest.Item) -> float:
    """What a test asks for, if that is more than what each has."""
    asked = item.get_closest_marker("timeout")
    return max(USUAL_LIMIT_S, asked.args[0]) if asked is not None and asked.args else USUAL_LIMIT_S


@pytest.fixture
def mock_clock() -> trio.testing.MockClock:
    """A clock that stands still until the test moves it."""
    return trio.testing.MockClock()


@pytest.fixture
def autojump_clock() -> trio.testing.MockClock:
    """A clock that jumps to the next deadline once every task waits, and for no thread."""
    return jumping_clock()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run `async def` tests with trio.run; the clock fixture in use, if any, is its clock."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted = pyfuncitem._fixtureinfo.argnames
    arguments: dict[str, Any] = {name: pyfuncitem.funcargs[name] for name in wanted}
    clock: Any = pyfuncitem.funcargs.get("mock_clock") or pyfuncitem.funcargs.get("autojump_clock")
    trio.run(functools.partial(pyfuncitem.obj, **arguments), clock=clock)
    return True
