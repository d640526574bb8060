"""Reads json-file logs the plain way, to compare with."""

from __future__ import annotations

import json
from typing import Any

from services.containers.logs import JsonFileLog
from services.containers.logs.files import LogFiles


def all_entries(files: LogFiles) -> list[dict[str, Any]]:
    """Every line of every file, oldest first."""
    files.scan()
    entries = []
    for generation in range(files.oldest(), files.generation + 1):
        opened = files.open(generation)
        if opened is not None:
            with opened[0] as file:
                entries += [json.loads(line) for line in file.read().splitlines()]
    return entries


def logged_text(log: JsonFileLog, stream: str = "stdout") -> bytes:
    """What a stream's lines say when put together."""
    return "".join(
        entry["log"] for entry in all_entries(log.files) if entry["stream"] == stream
    ).encode()
