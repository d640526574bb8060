"""CDI, the Container Device Interface: vendors' files tell what a device needs in a container.

Source: CDI's specification, versions 0.3.0 to 1.1.0, and its library, which dockerd uses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services import lazily

if TYPE_CHECKING:
    from .registry import CdiDevices as CdiDevices
    from .registry import Listing as Listing
    from .requests import DRIVER as DRIVER
    from .requests import check_requests as check_requests
    from .requests import no_driver as no_driver

__getattr__ = lazily.exports(
    __name__,
    {
        "registry": "CdiDevices Listing",
        "requests": "DRIVER check_requests no_driver",
    },
)
