"""Options of the json-file driver are understood and refused as in dockerd."""

from __future__ import annotations

import pytest

from services.containers.logs import (
    JsonFileOptions,
    check_json_file_options,
    parse_json_file_options,
)
from services.errors import InvalidParameter


@pytest.mark.parametrize(
    ("config", "options"),
    [
        ({}, JsonFileOptions(max_bytes=20_000_000, max_files=5)),
        ({"max-size": "10k", "max-file": "3"}, JsonFileOptions(max_bytes=10_000, max_files=3)),
        ({"max-size": "-1"}, JsonFileOptions(max_bytes=None)),
        ({"max-size": "1.5m"}, JsonFileOptions(max_bytes=1_500_000)),
        ({"compress": "true", "labels": "a"}, JsonFileOptions(compress=True)),
    ],
)
def test_understood(config: dict[str, str], options: JsonFileOptions) -> None:
    """Units of 1000, and our bound where dockerd has none."""
    assert parse_json_file_options(config) == options


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"max-size": "0"}, "max-size must be a positive number"),
        ({"max-size": "abc"}, "invalid size: 'abc'"),
        ({"max-size": "-5"}, "invalid size: '-5'"),
        ({"max-file": "0"}, "max-file cannot be less than 1"),
        ({"max-file": "x"}, 'strconv.Atoi: parsing "x": invalid syntax'),
        ({"compress": "maybe"}, 'strconv.ParseBool: parsing "maybe": invalid syntax'),
        (
            {"compress": "true", "max-file": "1"},
            "compress cannot be true when max-file is less than 2 or max-size is not set",
        ),
    ],
)
def test_refused_at_start(config: dict[str, str], message: str) -> None:
    """Impossible values pass at create and are refused when a container starts, as in dockerd."""
    check_json_file_options(config)
    with pytest.raises(InvalidParameter) as caught:
        parse_json_file_options(config)
    assert str(caught.value) == f"failed to initialize logging driver: {message}"


def test_unknown_key_is_refused_at_create() -> None:
    """dockerd's words."""
    with pytest.raises(InvalidParameter, match="unknown log opt 'foo' for json-file log driver"):
        check_json_file_options({"foo": "bar"})
