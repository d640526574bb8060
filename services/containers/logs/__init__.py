"""Container logs: writing and reading them in files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services import lazily

if TYPE_CHECKING:
    from services.containers.logs.attributes import read_attributes as read_attributes
    from services.containers.logs.counts import LogCounts as LogCounts
    from services.containers.logs.feed import Extent as Extent
    from services.containers.logs.file_log import FileLog as FileLog
    from services.containers.logs.format import Format as Format
    from services.containers.logs.info import LogInfo as LogInfo
    from services.containers.logs.json_lines import JsonLines as JsonLines
    from services.containers.logs.local_records import LocalRecords as LocalRecords
    from services.containers.logs.none import refuse_reading as refuse_reading
    from services.containers.logs.options import FileOptions as FileOptions
    from services.containers.logs.options import buffer_bytes as buffer_bytes
    from services.containers.logs.options import check_log_config as check_log_config
    from services.containers.logs.options import parse_file_options as parse_file_options
    from services.containers.logs.packing import Packer as Packer
    from services.containers.logs.query import LogQuery as LogQuery
    from services.containers.logs.reader import LogReader as LogReader

__getattr__ = lazily.exports(
    __name__,
    {
        "attributes": "read_attributes",
        "counts": "LogCounts",
        "feed": "Extent",
        "file_log": "FileLog",
        "format": "Format",
        "info": "LogInfo",
        "json_lines": "JsonLines",
        "local_records": "LocalRecords",
        "none": "refuse_reading",
        "options": "FileOptions buffer_bytes check_log_config parse_file_options",
        "packing": "Packer",
        "query": "LogQuery",
        "reader": "LogReader",
    },
)
