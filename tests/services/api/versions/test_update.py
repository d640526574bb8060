"""What an update request means to clients of other versions: a test for each row."""

from __future__ import annotations

from typing import Any

import pytest

from services.api.versions.update import BLKIO_DEVICES, adapted_update
from services.api.versions.version import ApiVersion
from services.containers.config import HostConfig, ThrottleDevice


def seen(minor: int, **fields: Any) -> HostConfig:
    """What becomes of a request that a client of 1.`minor` sent."""
    return adapted_update(HostConfig(**fields), ApiVersion(1, minor))


def test_processes_could_not_be_limited_anew() -> None:
    """Since 1.40; 0 and below lift the limit."""
    assert seen(39, pids_limit=5).pids_limit is None
    assert [seen(40, pids_limit=limit).pids_limit for limit in (5, 0, -1, -7)] == [5, 0, 0, 0]
    assert seen(40).pids_limit is None


def test_kernel_memory_is_gone() -> None:
    """Since 1.42."""
    assert [seen(minor, kernel_memory=5).kernel_memory for minor in (24, 41, 42)] == [5, 5, 0]


def test_kernel_memory_tcp_had_its_time() -> None:
    """From 1.40 to 1.51."""
    found = [seen(minor, kernel_memory_tcp=5).kernel_memory_tcp for minor in (39, 40, 51, 52)]
    assert found == [0, 5, 5, 0]


@pytest.mark.parametrize("name", BLKIO_DEVICES)
def test_limits_of_devices_were_passed_over(name: str) -> None:
    """Since 1.55 they count; an empty list takes them away."""
    for value in ([], [ThrottleDevice(path="/dev/x", rate=1)]):
        assert getattr(seen(54, **{name: value}), name) is None
        assert getattr(seen(55, **{name: value}), name) == value


def test_the_rest_is_left_as_it_is() -> None:
    """In the oldest version as in the newest."""
    for minor in (24, 56):
        assert seen(minor, memory=5, cpu_shares=7) == HostConfig(memory=5, cpu_shares=7)
