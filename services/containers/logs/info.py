"""What a log knows of its container: for attributes and tags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LogInfo:
    """Names as Docker has them: `name` begins with a slash, `image_id` with `sha256:`."""

    container_id: str
    name: str
    image_name: str
    image_id: str
    entrypoint: str
    arguments: Sequence[str]
    created: str
    env: Sequence[str]
    labels: Mapping[str, str]
    log_path: str
    daemon_name: str
    hostname: str
    config: Mapping[str, str]
