"""Container logs: writing and reading the json-file driver."""

from __future__ import annotations

from services.containers.logs.feed import Extent
from services.containers.logs.json_file import JsonFileLog
from services.containers.logs.none import refuse_reading
from services.containers.logs.options import (
    JsonFileOptions,
    check_json_file_options,
    parse_json_file_options,
)
from services.containers.logs.query import LogQuery
from services.containers.logs.reader import LogReader

__all__ = [
    "Extent",
    "JsonFileLog",
    "JsonFileOptions",
    "LogQuery",
    "LogReader",
    "check_json_file_options",
    "parse_json_file_options",
    "refuse_reading",
]
