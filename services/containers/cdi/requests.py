"""Which requests for devices can be met: HostConfig.DeviceRequests before anything is looked up.

Source: moby, daemon/devices.go and daemon/cdi.go.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from services.containers.cdi.gpus import check_gpu_request, is_for_gpus
from services.containers.config import DeviceRequest
from services.errors import InvalidParameter

DRIVER: Final = "cdi"


def check_requests(requests: Sequence[DeviceRequest], *, has_cdi: bool) -> None:
    """Raise InvalidParameter for a request that no driver of ours can meet, in dockerd's words.

    Whether there are files of the vendor whose GPUs are asked for is seen at the start, as under
    dockerd.
    """
    for request in requests:
        if has_cdi and is_for_gpus(request):
            check_gpu_request(request)
            continue
        if request.driver != DRIVER or not has_cdi:
            raise no_driver(request)
        if request.count:
            raise InvalidParameter("unexpected count in CDI device request")
        if request.options:
            raise InvalidParameter("unexpected options in CDI device request")


def no_driver(request: DeviceRequest) -> InvalidParameter:
    """What `--gpus` is told where there is no driver for them."""
    groups = " ".join(f"[{' '.join(group)}]" for group in request.capabilities or ())
    return InvalidParameter(
        f"could not select device driver {json.dumps(request.driver)} with capabilities: [{groups}]"
    )
