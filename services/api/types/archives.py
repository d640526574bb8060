"""What the API says of a container's files."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Final

from services.api.types.times import rfc3339_nano
from services.api.wire.json_bodies import encode
from services.containers.archives import Change, PathStat

_EPOCH: Final = "1970-01-01T00:00:00Z"  # here no other word for never


def stat_header(stat: PathStat) -> str:
    """The value of X-Docker-Container-Path-Stat (Engine API, ContainerArchiveInfo)."""
    described = {
        "name": stat.name,
        "size": stat.size_bytes,
        "mode": stat.mode,
        "mtime": rfc3339_nano(stat.mtime_ns) if stat.mtime_ns else _EPOCH,
        "linkTarget": stat.link_target,
    }
    return base64.b64encode(encode(described)).decode()


def changes_to_wire(changes: Sequence[Change]) -> list[dict[str, object]] | None:
    """FilesystemChange, one for each; null for none, as dockerd has it."""
    return [{"Path": change.path, "Kind": int(change.kind)} for change in changes] or None
