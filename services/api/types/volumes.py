"""Volumes on the wire. Source: Engine API, schemas Volume and VolumeCreateRequest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from services.api.types.times import rfc3339_nano
from services.containers.config import Wire
from services.volumes import LOCAL_DRIVER, Volume, VolumeRequest


class VolumeCreateBody(Wire, frozen=True, kw_only=True):
    """What POST /volumes/create takes. Empty strings mean what absent fields do."""

    name: str = ""
    driver: str = ""
    driver_opts: dict[str, str] | None = None
    labels: dict[str, str] | None = None
    cluster_volume_spec: dict[str, Any] | None = None

    def request(self) -> VolumeRequest:
        """The same, as the volumes service takes it."""
        return VolumeRequest(
            name=self.name,
            driver=self.driver,
            options=self.driver_opts or {},
            labels=self.labels or {},
        )


class VolumeUsage(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Schema Volume, member UsageData; -1 is not known."""

    size: int = -1
    ref_count: int = -1


def volume_to_wire(volume: Volume, place: Path, usage: VolumeUsage | None = None) -> dict[str, Any]:
    """Schema Volume; the instant is in whole seconds, as dockerd's."""
    whole_seconds_ns = volume.created_at_ns // 10**9 * 10**9
    wire: dict[str, Any] = {
        "CreatedAt": rfc3339_nano(whole_seconds_ns),
        "Driver": LOCAL_DRIVER,
        "Labels": volume.labels,
        "Mountpoint": str(place),
        "Name": volume.name,
        "Options": volume.options,
        "Scope": "local",
    }
    return wire if usage is None else wire | {"UsageData": usage}
