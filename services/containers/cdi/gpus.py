"""`--gpus`: a request for so many of a vendor's GPUs, by the vendor's CDI files.

The vendors' tools write these files (`nvidia-ctk cdi generate`, `amd-ctk cdi generate`). A vendor
without a file has no driver here; dockerd's older way, by a hook of NVIDIA's, is not taken.

Source: moby, daemon/devices.go, daemon/devices_nvidia_linux.go and daemon/devices_amd_linux.go.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from services.containers.config import DeviceRequest
from services.errors import InvalidParameter

ALL: Final = -1
_GPU: Final = "gpu"

# By the driver's name: its kind in CDI, and what it can be asked for.
_VENDORS: Final[Mapping[str, tuple[str, frozenset[str]]]] = MappingProxyType(
    {
        "nvidia": (
            "nvidia.com/gpu",
            frozenset(
                {_GPU, "nvidia", "compute", "compat32", "graphics", "utility", "video", "display"}
            ),
        ),
        "amd": ("amd.com/gpu", frozenset({_GPU, "amd"})),
    }
)


def is_for_gpus(request: DeviceRequest) -> bool:
    """Whether a vendor could meet it, were its files there."""
    return any(True for _ in _candidates(request))


def check_gpu_request(request: DeviceRequest) -> None:
    """Raise InvalidParameter for a request that contradicts itself, in dockerd's words."""
    if request.count and request.device_ids:
        raise InvalidParameter("cannot set both Count and DeviceIDs on device request.")


def gpu_names(request: DeviceRequest, known: Collection[str]) -> list[str] | None:
    """The names in CDI of what is asked for; None if no vendor of whom `known` has devices can.

    Those that are asked for by a number are the first ones; more than there are is found missing
    when they are looked up.
    """
    for kind in _candidates(request):
        of_kind = [name for name in known if name.startswith(f"{kind}=")]
        if of_kind:
            return [f"{kind}={one}" for one in _wanted(request, kind, of_kind)]
    return None


def _candidates(request: DeviceRequest) -> list[str]:
    return [
        kind
        for driver, (kind, can) in _VENDORS.items()
        if request.driver in ("", driver) and _matches(request.capabilities or (), can)
    ]


def _matches(groups: Sequence[Sequence[str]], can: frozenset[str]) -> bool:
    """Any of the groups is enough, and all that is in it is needed."""
    return any(_GPU in group and can.issuperset(group) for group in groups)


def _wanted(request: DeviceRequest, kind: str, known: Sequence[str]) -> Sequence[str]:
    if request.device_ids:
        return request.device_ids
    if request.count == ALL:
        everything = f"{kind}=all"
        if everything in known:
            return ("all",)
        return sorted(name.partition("=")[2] for name in known)
    return [str(number) for number in range(request.count)]
