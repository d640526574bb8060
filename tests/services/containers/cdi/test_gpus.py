"""Which of whose GPUs a request means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.containers.cdi import CdiDevices
from services.containers.cdi.gpus import gpu_names
from services.containers.config import DeviceRequest
from services.errors import EngineError
from tests.services.containers.cdi.samples import document, oci_spec, write

NVIDIA = ("nvidia.com/gpu=0", "nvidia.com/gpu=1", "nvidia.com/gpu=all")
AMD = ("amd.com/gpu=1", "amd.com/gpu=0")


def asked(*capabilities: str, **values: Any) -> DeviceRequest:
    return DeviceRequest(capabilities=[list(capabilities or ("gpu",))], **values)


@pytest.mark.parametrize(
    ("request_", "known", "names"),
    [
        (asked(count=-1), NVIDIA, ["nvidia.com/gpu=all"]),
        (asked(count=-1), AMD, ["amd.com/gpu=0", "amd.com/gpu=1"]),
        (asked(count=-1), (*AMD, *NVIDIA), ["nvidia.com/gpu=all"]),
        (asked(count=2), NVIDIA, ["nvidia.com/gpu=0", "nvidia.com/gpu=1"]),
        (asked(device_ids=["GPU-x"]), NVIDIA, ["nvidia.com/gpu=GPU-x"]),
        (asked(driver="amd", count=1), (*AMD, *NVIDIA), ["amd.com/gpu=0"]),
        (asked("gpu", "utility", count=1), (*AMD, *NVIDIA), ["nvidia.com/gpu=0"]),
        (asked("gpu", "amd", count=1), (*AMD, *NVIDIA), ["amd.com/gpu=0"]),
        (asked(driver="amd", count=1), NVIDIA, None),
        (asked("gpu", "other", count=1), NVIDIA, None),
        (asked("tpu", count=1), NVIDIA, None),
        (asked(count=-1), (), None),
    ],
)
def test_a_request_is_for_the_first_vendor_that_can(
    request_: DeviceRequest, known: tuple[str, ...], names: list[str] | None
) -> None:
    """By its driver's name, by what it is to be able to, and by the files that there are."""
    assert gpu_names(request_, known) == names


def test_more_than_there_are_is_refused_at_the_start(tmp_path: Path) -> None:
    """As a device of CDI's that is not there."""
    write(tmp_path, "a.json", document("0", kind="nvidia.com/gpu"))
    devices, spec = CdiDevices(lambda: [str(tmp_path)]), oci_spec()
    devices.inject(spec, [asked(count=1)])
    assert "0=1" in spec["process"]["env"]
    with pytest.raises(EngineError, match=r"unresolvable CDI devices nvidia\.com/gpu=1"):
        devices.inject(oci_spec(), [asked(count=2)])
    with pytest.raises(EngineError, match='could not select device driver "amd"'):
        devices.inject(oci_spec(), [asked(driver="amd", count=1)])
