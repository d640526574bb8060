"""Containers and lines for tests of drivers."""

from __future__ import annotations

from services.containers.logs import LogInfo
from services.containers.logs.remote.lines import Line, Partial
from services.containers.stdio import Stream

ID = "0123456789ab" + "c" * 52
TIME_NS = 1_796_000_000_123_456_789


def info(config: dict[str, str] | None = None, **changes: object) -> LogInfo:
    """A container called web, with labels and variables."""
    values: dict[str, object] = {
        "container_id": ID,
        "name": "/web",
        "image_name": "busybox",
        "image_id": "sha256:" + "d" * 64,
        "entrypoint": "sh",
        "arguments": ["-c", "echo"],
        "created": "2026-11-29T12:00:00Z",
        "env": ["COLOUR=red", "SECRET=x"],
        "labels": {"team.name": "blue", "_own": "1", "other": "y"},
        "log_path": "",
        "daemon_name": "docker",
        "hostname": "box",
        "config": config or {},
    }
    return LogInfo(**(values | changes))  # type: ignore[arg-type]


def line(text: bytes, stream: Stream = Stream.STDOUT, partial: Partial | None = None) -> Line:
    """A line of then."""
    return Line(stream, TIME_NS, text, partial)
