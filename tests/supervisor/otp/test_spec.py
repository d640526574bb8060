"""Child specs: their rules, their defaults, and which start functions take a task_status."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import pytest
import trio

from supervisor.otp import (
    INFINITY,
    AutoShutdown,
    Backoff,
    BadSpec,
    ChildSpec,
    ChildType,
    Intensity,
    Probe,
    Restart,
    check_childspecs,
)
from supervisor.otp.spec import takes_task_status


async def plain() -> None:
    """A start function without task_status."""


async def with_status(task_status: trio.TaskStatus[None]) -> None:
    """One with it."""


async def keyword_only(*, task_status: trio.TaskStatus[None]) -> None:
    """One with it by keyword."""


async def any_keyword(**kwargs: Any) -> None:
    """One that takes every keyword."""


async def positional_only(task_status: trio.TaskStatus[None], /) -> None:
    """One that cannot be given it by keyword."""


class Service:
    """A class whose method is a start function."""

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """The method."""

    async def bare(self) -> None:
        """Another one."""

    async def __call__(self, task_status: trio.TaskStatus[None]) -> None:
        """An object that is called."""


@functools.wraps(with_status)
async def wrapped(*args: Any, **kwargs: Any) -> None:
    """A decorated one."""


@functools.wraps(plain)
async def wrapped_plain(*args: Any) -> None:
    """A decorated one without it."""


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (plain, False),
        (with_status, True),
        (keyword_only, True),
        (any_keyword, True),
        (positional_only, False),
        (Service().run, True),
        (Service().bare, False),
        (Service(), True),
        (functools.partial(with_status), True),
        (functools.partial(Service().run), True),
        (functools.partial(with_status, task_status=trio.TASK_STATUS_IGNORED), False),
        (wrapped, True),
        (wrapped_plain, False),
        (lambda task_status: None, True),
        (trio.sleep_forever, False),
        (print, False),
    ],
)
def test_task_status_is_found_by_signature(start: Callable[..., Any], expected: bool) -> None:
    """Whatever the start function is made of."""
    assert takes_task_status(start) is expected


def test_defaults_are_otps() -> None:
    """Permanent, worker, 5 s; a supervisor has all the time it needs."""
    worker = ChildSpec(id="a", start=plain)
    assert (worker.restart, worker.type) == (Restart.PERMANENT, ChildType.WORKER)
    assert (worker.shutdown_s, worker.significant) == (5.0, False)
    assert ChildSpec(id="a", start=plain, type=ChildType.SUPERVISOR).shutdown_s == INFINITY
    supervisor = ChildSpec(id="a", start=plain, type=ChildType.SUPERVISOR, shutdown_s=5.0)
    assert supervisor.shutdown_s == 5.0


@pytest.mark.parametrize(
    "fields",
    [
        {"id": ""},
        {"id": 7},
        {"start": None},
        {"shutdown_s": -2.0},
        {"shutdown_s": math.nan},
        {"start_limit_s": 0.0},
        {"significant": True},
    ],
)
def test_bad_fields_are_refused(fields: dict[str, Any]) -> None:
    """One field out of its range is enough."""
    with pytest.raises(BadSpec):
        ChildSpec(**{"id": "a", "start": plain, **fields})


def test_specs_together() -> None:
    """Ids are unique; significant children need auto_shutdown."""
    a = ChildSpec(id="a", start=plain)
    s = ChildSpec(id="s", start=plain, restart=Restart.TRANSIENT, significant=True)
    check_childspecs([a, s])
    check_childspecs([a, s], AutoShutdown.ANY_SIGNIFICANT)
    with pytest.raises(BadSpec):
        check_childspecs([a, a])
    with pytest.raises(BadSpec):
        check_childspecs([a, s], AutoShutdown.NEVER)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Backoff(first_s=-1.0),
        lambda: Backoff(first_s=2.0, cap_s=1.0),
        lambda: Backoff(cap_s=math.inf),
        lambda: Backoff(factor=0.5),
        lambda: Backoff(reset_s=-1.0),
        lambda: Probe(check=lambda: _true(), every_s=0.0),
        lambda: Probe(check=lambda: _true(), tries=0),
        lambda: Intensity(max_restarts=-1),
        lambda: Intensity(window_s=0.0),
    ],
)
def test_bad_parts_are_refused(make: Callable[[], object]) -> None:
    """Back-off, probe and intensity check themselves."""
    with pytest.raises(BadSpec):
        make()


def test_backoff_grows_to_its_cap() -> None:
    """The delays after 1, 2, 3 ... failures; also after very many."""
    backoff = Backoff(first_s=0.5, factor=3.0, cap_s=5.0)
    assert [backoff.delay_s(n) for n in (1, 2, 3, 4, 10**9)] == [0.5, 1.5, 4.5, 5.0, 5.0]
    assert Backoff(first_s=2.0, factor=1.0).delay_s(10**9) == 2.0
    assert Backoff(first_s=0.0).delay_s(5) == 0.0


async def _true() -> bool:
    return True
