"""Samples on the wire fit the definition, and are as dockerd writes them."""

from __future__ import annotations

import pytest

from services.api.types.stats import stats_to_wire
from services.containers.stats import (
    BlockCounter,
    CpuUsage,
    InterfaceCounters,
    MemoryUsage,
    PidsUsage,
    Sample,
)
from tests.services.api.containers import container, running
from tests.services.api.openapi import require_definition

READ = BlockCounter(major=254, minor=0, op="Read", value=5)
V1 = Sample(
    read_ns=1_700_000_000_500_000_000,
    cpu=CpuUsage(total_ns=5, per_cpu_ns=(2, 3), system_ns=100, online_cpus=2),
    memory=MemoryUsage(usage_bytes=10, max_usage_bytes=20, limit_bytes=30, stats={"cache": 1}),
    pids=PidsUsage(current=3, limit=0),
    io_service_bytes=(READ,),
    io_serviced=(READ,),
    networks={"eth0": InterfaceCounters(rx_bytes=9)},
)
V2 = Sample(
    read_ns=1_700_000_001_500_000_000,
    cpu=CpuUsage(total_ns=9, system_ns=300, online_cpus=2),
    memory=MemoryUsage(usage_bytes=10, limit_bytes=30, stats={"file": 1}),
    pids=PidsUsage(current=3, limit=2**64 - 1),
    io_service_bytes=(),
    io_serviced=None,
    networks={},
)


@pytest.mark.parametrize(
    ("sample", "previous"), [(V1, None), (V1, V1), (V2, V1), (None, None), (None, V1)]
)
def test_every_shape_fits_the_definition(sample: Sample | None, previous: Sample | None) -> None:
    """With and without a sample before it, of both versions, and of what does not run."""
    wire = stats_to_wire(container(status=running()), sample, previous)
    require_definition().validate_as("ContainerStatsResponse", wire)


def test_the_lists_of_each_version() -> None:
    """Version 1 has two that are filled and the rest empty; version 2 one, the rest null."""
    one = container(status=running())
    first, second = (stats_to_wire(one, sample)["blkio_stats"] for sample in (V1, V2))
    assert first["io_serviced_recursive"] == [{"major": 254, "minor": 0, "op": "Read", "value": 5}]
    assert (first["sectors_recursive"], second["sectors_recursive"]) == ([], None)
    assert (second["io_service_bytes_recursive"], second["io_serviced_recursive"]) == ([], None)


def test_what_is_zero_is_left_out_where_dockerd_does() -> None:
    """An empty answer has neither limits nor networks nor the host's time."""
    wire = stats_to_wire(container(), None)
    assert wire["memory_stats"] == wire["pids_stats"] == {}
    assert "networks" not in wire
    assert (
        wire["cpu_stats"]
        == wire["precpu_stats"]
        == {
            "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
            "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
        }
    )
    assert wire["read"] == wire["preread"] == "0001-01-01T00:00:00Z"
