"""Container logs: writing and reading them in files."""

from __future__ import annotations

from services.containers.logs.attributes import read_attributes
from services.containers.logs.counts import LogCounts
from services.containers.logs.feed import Extent
from services.containers.logs.file_log import FileLog
from services.containers.logs.format import Format
from services.containers.logs.info import LogInfo
from services.containers.logs.json_lines import JsonLines
from services.containers.logs.local_records import LocalRecords
from services.containers.logs.none import refuse_reading
from services.containers.logs.options import (
    FileOptions,
    buffer_bytes,
    check_log_config,
    parse_file_options,
)
from services.containers.logs.packing import Packer
from services.containers.logs.query import LogQuery
from services.containers.logs.reader import LogReader

__all__ = [
    "Extent",
    "FileLog",
    "FileOptions",
    "Format",
    "JsonLines",
    "LocalRecords",
    "LogCounts",
    "LogInfo",
    "LogQuery",
    "LogReader",
    "Packer",
    "buffer_bytes",
    "check_log_config",
    "parse_file_options",
    "read_attributes",
    "refuse_reading",
]
