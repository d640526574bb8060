"""Where the engine's own log goes and how it looks: text for people, or one JSON object a line."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Callable
from datetime import UTC
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, TextIO

from loguru import logger

if TYPE_CHECKING:
    from loguru import Record

# dockerd's names of the levels, as --log-level takes them, and loguru's.
_LOGURU_LEVEL: Final = MappingProxyType(
    {
        "panic": "CRITICAL",
        "fatal": "CRITICAL",
        "error": "ERROR",
        "warn": "WARNING",
        "info": "INFO",
        "debug": "DEBUG",
        "trace": "TRACE",
    }
)
_LEVEL_NAME: Final = MappingProxyType(
    {
        "CRITICAL": "fatal",
        "ERROR": "error",
        "WARNING": "warning",  # dockerd writes it so, though it reads `warn`
        "SUCCESS": "info",
        "INFO": "info",
        "DEBUG": "debug",
        "TRACE": "trace",
    }
)
_COLOURS: Final = MappingProxyType(
    {"CRITICAL": "31", "ERROR": "31", "WARNING": "33", "INFO": "36", "SUCCESS": "36"}
)


class LogSink:
    """The one sink of the process: made by the entry point, changed by a reload.

    Replaces whatever sinks loguru had, and takes in what libraries log through `logging`.
    """

    def __init__(
        self,
        *,
        level: str,
        format: Literal["text", "json"] = "text",
        raw: bool = False,
        stream: TextIO | None = None,
    ) -> None:
        """`level` is one of dockerd's. `raw` is full time stamps and never colour."""
        self._stream = stream if stream is not None else sys.stderr
        self._format = self._format_of(format, raw=raw)
        logger.remove()
        self._handler = self._add(level)
        self.level = level
        logging.basicConfig(handlers=[_FromLogging()], level=logging.WARNING, force=True)

    def change(self, *, level: str, format: Literal["text", "json"], raw: bool) -> None:
        """Write like this, `level` and what is graver, from now on."""
        self._format = self._format_of(format, raw=raw)
        if level == self.level:
            return
        # The new one first: a line too many is better than one lost.
        previous, self._handler = self._handler, self._add(level)
        logger.remove(previous)
        self.level = level

    def _format_of(self, format: Literal["text", "json"], *, raw: bool) -> Callable[[Record], str]:
        is_coloured = not raw and self._stream.isatty()
        return _json_line if format == "json" else _Text(raw=raw, coloured=is_coloured)

    def _add(self, level: str) -> int:
        return logger.add(
            self._write,
            level=_LOGURU_LEVEL[level],
            format="{message}",  # not used: `_write` makes the line of the record itself
            colorize=False,
            backtrace=False,
            diagnose=False,  # would print the values of variables, secrets among them
            catch=True,
        )

    def _write(self, message: object) -> None:
        record: Record = message.record  # type: ignore[attr-defined]  # loguru's str with a record
        self._stream.write(self._format(record))
        self._stream.flush()


class _Text:
    """`<time> LEVEL message key=value ...`, then the traceback if there is one."""

    def __init__(self, *, raw: bool, coloured: bool) -> None:
        self._raw = raw
        self._coloured = coloured

    def __call__(self, record: Record) -> str:
        name = record["level"].name
        level = f"{_LEVEL_NAME.get(name, name.lower()).upper():<7}"
        if self._coloured:
            level = f"\x1b[{_COLOURS.get(name, '37')}m{level}\x1b[0m"
        fields = "".join(f" {key}={_field(value)}" for key, value in record["extra"].items())
        error = _traceback(record)
        return f"{_time(record, full=self._raw)} {level} {_line(record)}{fields}\n{error}"


def _json_line(record: Record) -> str:
    """The fields as they are, beside dockerd's `time`, `level` and `msg`, which they never hide."""
    name = record["level"].name
    line: dict[str, object] = {
        key if key not in ("time", "level", "msg", "error_traceback") else f"fields.{key}": value
        for key, value in record["extra"].items()
    }
    line |= {
        "level": _LEVEL_NAME.get(name, name.lower()),
        "msg": record["message"],
        "time": _time(record, full=True),
    }
    if error := _traceback(record):
        line["error_traceback"] = error
    return json.dumps(line, default=str, ensure_ascii=False) + "\n"


def _time(record: Record, *, full: bool) -> str:
    """UTC, RFC 3339; microseconds when `full`, else milliseconds."""
    moment = record["time"].astimezone(UTC)
    text = moment.isoformat(timespec="microseconds" if full else "milliseconds")
    return text.removesuffix("+00:00") + "Z"


def _line(record: Record) -> str:
    """The message on one line: nothing in it may forge another record or steer the terminal."""
    text = record["message"]
    if text.isprintable():
        return text
    return "".join(mark if mark.isprintable() else repr(mark)[1:-1] for mark in text)


def _field(value: object) -> str:
    text = str(value)
    is_plain = text.isprintable() and text and not any(mark in text for mark in ' "=')
    return text if is_plain else json.dumps(text, ensure_ascii=False)


def _traceback(record: Record) -> str:
    error = record["exception"]
    if error is None or error.value is None:
        return ""
    return "".join(traceback.format_exception(error.type, error.value, error.traceback))


class _FromLogging(logging.Handler):
    """Hands what libraries log through `logging` on to loguru, so that it looks like the rest."""

    def emit(self, record: logging.LogRecord) -> None:
        """One record; its text was formatted by its own rules and must not be again."""
        known = {"CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG"}
        level = record.levelname if record.levelname in known else record.levelno
        bound = logger.bind(service=record.name)
        bound.opt(exception=record.exc_info).log(level, "{}", record.getMessage())
