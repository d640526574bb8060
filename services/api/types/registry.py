"""Answers of registries on the wire.

Source: Engine API, schemas DistributionInspect, JSONMessage and the answer of ImageSearch.
"""

from __future__ import annotations

from typing import Any

from services.registry.progress import Line
from services.registry.requests import Distribution, SearchResult

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_BAR_COLUMNS = 50


def distribution_to_wire(distribution: Distribution) -> dict[str, Any]:
    """The answer of GET /distribution/{name}/json."""
    descriptor = distribution.descriptor
    return {
        "Descriptor": {
            "mediaType": descriptor.media_type,
            "digest": descriptor.digest,
            "size": descriptor.size,
        },
        "Platforms": [
            {
                key: value
                for key, value in (
                    ("architecture", platform.architecture),
                    ("os", platform.os),
                    ("os.version", platform.os_version),
                    ("os.features", platform.os_features),
                    ("variant", platform.variant),
                )
                if value or key in ("architecture", "os")
            }
            for platform in distribution.platforms
        ],
    }


def search_result_to_wire(result: SearchResult) -> dict[str, Any]:
    """One element of the answer of GET /images/search."""
    return {
        "star_count": result.star_count,
        "is_official": result.is_official,
        "name": result.name,
        "is_automated": result.is_automated,
        "description": result.description,
    }


def line_to_wire(line: Line) -> dict[str, Any]:
    """A line of progress, or a plain message. `progress` is a bar for clients that draw none."""
    wire: dict[str, Any] = {}
    if line.status:
        wire["status"] = line.status
    if line.is_progress:
        counts = {"current": line.current, "total": line.total}
        wire["progressDetail"] = {key: value for key, value in counts.items() if value}
        if line.current or line.total:
            wire["progress"] = bar(line.current, line.total)
    if line.id:
        wire["id"] = line.id
    if line.aux is not None:
        wire["aux"] = dict(line.aux)
    return wire


def bar(current: int, total: int) -> str:
    """A bar of 50 columns with figures. Source: docker, pkg/jsonmessage, JSONProgress.String."""
    if total <= 0:
        return f"{human_size(current):>8}"
    done = min(current * 2 * _BAR_COLUMNS // total // 2, _BAR_COLUMNS)
    figures = f"{human_size(current):>8}"
    if current <= total:
        figures += f"/{human_size(total)}"
    return f"[{'=' * done}>{' ' * (_BAR_COLUMNS - done)}] {figures}"


def human_size(size: float) -> str:
    """Four digits and a unit. Source: docker/go-units, HumanSize."""
    unit = 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.4g}{_UNITS[unit]}"
