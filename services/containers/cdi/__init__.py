"""CDI, the Container Device Interface: vendors' files tell what a device needs in a container.

Source: CDI's specification, versions 0.3.0 to 1.1.0, and its library, which dockerd uses.
"""

from services.containers.cdi.registry import CdiDevices, Listing
from services.containers.cdi.requests import DRIVER, check_requests, no_driver

__all__ = [
    "DRIVER",
    "CdiDevices",
    "Listing",
    "check_requests",
    "no_driver",
]
