"""supervisor.process.logs: how a record looks and which ones are seen."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from loguru import logger

from supervisor.process.logs import LogSink


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """loguru and logging are the process's; leave them without our sinks."""
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logger.remove()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def json_lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_text_is_one_line_with_fields() -> None:
    """Time, level, message, then the fields, quoted where they must be."""
    stream = io.StringIO()
    LogSink(level="info", stream=stream)
    logger.bind(service="x").info("container exited", code=3, name='a "b"', empty="")
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO    container exited"
        r' service=x code=3 name="a \\"b\\"" empty=""\n',
        stream.getvalue(),
    )


def test_raw_text_has_full_time_stamps() -> None:
    """Microseconds."""
    stream = io.StringIO()
    LogSink(level="info", raw=True, stream=stream)
    logger.info("x")
    assert re.match(r"\S+T\d\d:\d\d:\d\d\.\d{6}Z ", stream.getvalue())


def test_a_terminal_gets_colour_unless_raw() -> None:
    """Nobody else does."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for raw in (False, True):
        stream = Terminal()
        LogSink(level="info", raw=raw, stream=stream)
        logger.info("x")
        assert ("\x1b[" in stream.getvalue()) is not raw


def test_no_value_can_forge_a_line() -> None:
    """Line breaks and escapes in a message or a field are written out."""
    stream = io.StringIO()
    LogSink(level="info", stream=stream)
    logger.info("{}", "a\nb\x1b[31m", field="c\nd\x1b[31m")
    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b" not in stream.getvalue()


def test_json_is_an_object_a_line() -> None:
    """dockerd's `time`, `level`, `msg`, and the fields beside them, which cannot hide them."""
    stream = io.StringIO()
    LogSink(level="info", format="json", stream=stream)
    logger.warning("disk full", free_bytes=0, path=b"x", level="forged")
    (line,) = json_lines(stream)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "warning",
        "msg": "disk full",
        "free_bytes": 0,
        "path": "b'x'",
        "fields.level": "forged",
    }


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_exception_keeps_its_traceback_but_not_its_variables(form: Any) -> None:
    """The values of variables could be secrets."""
    stream = io.StringIO()
    LogSink(level="info", format=form, stream=stream)
    password = "hunter2"  # noqa: F841  (what a careless formatter would print)
    try:
        next(iter(()))
    except StopIteration:
        logger.exception("it broke")
    assert "StopIteration" in stream.getvalue()
    assert "hunter2" not in stream.getvalue().replace('password = "hunter2"', "")


def test_the_level_changes_while_running() -> None:
    """From the next record on, in both directions."""
    stream = io.StringIO()
    sink = LogSink(level="warn", format="json", stream=stream)
    logger.info("1")
    sink.change(level="debug", format="json", raw=False)
    logger.debug("2")
    sink.change(level="error", format="json", raw=False)
    logger.warning("3")
    logger.error("4")
    assert [line["msg"] for line in json_lines(stream)] == ["2", "4"]
    assert sink.level == "error"


def test_the_format_changes_while_running() -> None:
    """Whole lines of the one, then whole lines of the other."""
    stream = io.StringIO()
    sink = LogSink(level="info", format="json", stream=stream)
    logger.info("1")
    sink.change(level="info", format="text", raw=True)
    logger.info("2")
    first, second = stream.getvalue().splitlines()
    assert json.loads(first)["msg"] == "1"
    assert second.endswith("INFO    2")


@pytest.mark.parametrize("level", ["panic", "fatal", "error", "warn", "info", "debug", "trace"])
def test_every_level_of_dockerds_is_one_of_ours(level: str) -> None:
    """Whatever --log-level takes, the sink takes."""
    stream = io.StringIO()
    LogSink(level=level, stream=stream)
    logger.critical("x")
    assert "FATAL" in stream.getvalue()


def test_libraries_that_log_in_their_own_way_are_taken_in() -> None:
    """Their text is not formatted a second time: braces in it are only braces."""
    stream = io.StringIO()
    LogSink(level="info", format="json", stream=stream)
    logging.getLogger("some.library").warning("odd %s", "{header}")
    (line,) = json_lines(stream)
    assert (line["level"], line["msg"], line["service"]) == (
        "warning",
        "odd {header}",
        "some.library",
    )
