"""Volumes: data that outlives containers, in the local driver's directories."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services import lazily

if TYPE_CHECKING:
    from .filters import VolumeFilters as VolumeFilters
    from .model import ANONYMOUS_LABEL as ANONYMOUS_LABEL
    from .model import LOCAL_DRIVER as LOCAL_DRIVER
    from .model import Volume as Volume
    from .records import MIGRATION as MIGRATION
    from .requests import Provided as Provided
    from .requests import PrunedVolumes as PrunedVolumes
    from .requests import VolumeRequest as VolumeRequest
    from .volumes import Volumes as Volumes

__getattr__ = lazily.exports(
    __name__,
    {
        "filters": "VolumeFilters",
        "model": "ANONYMOUS_LABEL LOCAL_DRIVER Volume",
        "records": "MIGRATION",
        "requests": "Provided PrunedVolumes VolumeRequest",
        "volumes": "Volumes",
    },
)
