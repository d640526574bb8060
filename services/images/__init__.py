"""Images: loaded into containerd's stores, named, removed, and made root file systems of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services import lazily

if TYPE_CHECKING:
    from .catalog import Catalog as Catalog
    from .filters import ImageFilters as ImageFilters
    from .images import Images as Images
    from .ingest import IngestProgress as IngestProgress
    from .load import Loaded as Loaded
    from .model import Deleted as Deleted
    from .model import Image as Image
    from .model import ImageId as ImageId
    from .model import ImageName as ImageName
    from .model import ImageUse as ImageUse
    from .model import Manifest as Manifest
    from .model import Untagged as Untagged
    from .oci import HealthcheckConfig as HealthcheckConfig
    from .oci import HistoryEntry as HistoryEntry
    from .oci import ImageConfig as ImageConfig
    from .oci import OciDescriptor as OciDescriptor
    from .oci import RunConfig as RunConfig
    from .platform import Platform as Platform
    from .reference import Reference as Reference
    from .reference import parse_any_reference as parse_any_reference
    from .reference import parse_reference as parse_reference
    from .reference import short_id as short_id

__getattr__ = lazily.exports(
    __name__,
    {
        "catalog": "Catalog",
        "filters": "ImageFilters",
        "images": "Images",
        "ingest": "IngestProgress",
        "load": "Loaded",
        "model": "Deleted Image ImageId ImageName ImageUse Manifest Untagged",
        "oci": "HealthcheckConfig HistoryEntry ImageConfig OciDescriptor RunConfig",
        "platform": "Platform",
        "reference": "Reference parse_any_reference parse_reference short_id",
    },
)
