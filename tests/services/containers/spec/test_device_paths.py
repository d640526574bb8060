"""Paths of devices that no kernel takes."""

from __future__ import annotations

import pytest

from services.containers.config import DeviceMapping, HostConfig, ThrottleDevice, WeightDevice
from services.containers.spec.devices import (
    parse_device_rule,
    read_block_numbers,
    read_host_devices,
)
from services.errors import InvalidParameter

NUL = "/dev/a\x00b"


@pytest.mark.parametrize(
    "host",
    [
        HostConfig(blkio_device_read_bps=[ThrottleDevice(path=NUL, rate=1)]),
        HostConfig(blkio_weight_device=[WeightDevice(path=NUL, weight=10)]),
    ],
)
def test_a_null_byte_in_a_limit(host: HostConfig) -> None:
    """The client's mistake, as a device that is not there."""
    with pytest.raises(InvalidParameter, match="invalid argument"):
        read_block_numbers(host)


def test_a_null_byte_in_a_device() -> None:
    """The same for one that is to be in the container."""
    host = HostConfig(devices=[DeviceMapping(path_on_host=NUL)])
    with pytest.raises(InvalidParameter, match="no such file or directory"):
        read_host_devices(host)


@pytest.mark.parametrize("digits", [11, 5000])
def test_endless_numbers_in_a_rule(digits: int) -> None:
    """Larger than any number of a device."""
    with pytest.raises(InvalidParameter, match="invalid device cgroup rule format"):
        parse_device_rule(f"c {'9' * digits}:* r")
