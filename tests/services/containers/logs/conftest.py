"""Logs of both drivers that write files."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from services.containers.logs import FileLog, JsonLines, LocalRecords
from tests.services.containers.logs.lines import make_json_log

MakeLog = Callable[..., FileLog]


@pytest.fixture(params=[JsonLines, LocalRecords])
def make_log(request: pytest.FixtureRequest) -> MakeLog:
    """`make_json_log` for the one format and for the other."""
    return partial(make_json_log, format=request.param())
