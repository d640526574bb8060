"""Log drivers and their options are understood and refused as in dockerd."""

from __future__ import annotations

import pytest

from services.containers.logs import (
    FileOptions,
    buffer_bytes,
    check_log_config,
    parse_file_options,
)
from services.errors import InvalidParameter, NotSupported

LOCAL_DEFAULTS = FileOptions(max_bytes=20 * 1024 * 1024, max_files=5, compress=True)


@pytest.mark.parametrize(
    ("driver", "config", "options"),
    [
        ("json-file", {}, FileOptions(max_bytes=20_000_000, max_files=5)),
        (
            "json-file",
            {"max-size": "10k", "max-file": "3"},
            FileOptions(max_bytes=10_000, max_files=3),
        ),
        ("json-file", {"max-size": "-1"}, FileOptions(max_bytes=None)),
        ("json-file", {"max-size": "1.5m"}, FileOptions(max_bytes=1_500_000)),
        ("json-file", {"compress": "true", "labels": "a"}, FileOptions(compress=True)),
        ("local", {}, LOCAL_DEFAULTS),
        (
            "local",
            {"max-size": "-1", "compress": "f", "max-file": "1"},
            FileOptions(max_bytes=None, max_files=1),
        ),
    ],
)
def test_understood(driver: str, config: dict[str, str], options: FileOptions) -> None:
    """Units of 1000, local's defaults, and our bound where dockerd has none."""
    check_log_config(driver, config)
    assert parse_file_options(driver, config) == options


@pytest.mark.parametrize(
    ("driver", "config", "message"),
    [
        ("json-file", {"max-size": "0"}, "max-size must be a positive number"),
        ("json-file", {"max-size": "abc"}, "invalid size: 'abc'"),
        ("json-file", {"max-size": "-5"}, "invalid size: '-5'"),
        ("json-file", {"max-file": "0"}, "max-file cannot be less than 1"),
        ("json-file", {"max-file": "x"}, 'strconv.Atoi: parsing "x": invalid syntax'),
        ("json-file", {"compress": "zz"}, 'strconv.ParseBool: parsing "zz": invalid syntax'),
        (
            "json-file",
            {"compress": "true", "max-file": "1"},
            "compress cannot be true when max-file is less than 2 or max-size is not set",
        ),
        ("local", {"max-size": "abc"}, "invalid value for max-size: abc: invalid size: 'abc'"),
        (
            "local",
            {"max-file": "x"},
            'invalid value for max-file: x: strconv.Atoi: parsing "x": invalid syntax',
        ),
        (
            "local",
            {"compress": "zz"},
            'error reading compress log option: strconv.ParseBool: parsing "zz": invalid syntax',
        ),
        (
            "local",
            {"max-file": "1"},
            "compression cannot be enabled when max file count is 1",
        ),
        ("local", {"max-file": "-1", "compress": "0"}, "max file count cannot be less than 0"),
    ],
)
def test_refused_values(driver: str, config: dict[str, str], message: str) -> None:
    """Impossible values pass dockerd's check of the create; its start says this of them."""
    check_log_config(driver, config)
    with pytest.raises(InvalidParameter) as caught:
        parse_file_options(driver, config)
    assert str(caught.value) == f"failed to initialize logging driver: {message}"


@pytest.mark.parametrize(
    ("driver", "config", "message"),
    [
        ("json-file", {"foo": "bar"}, "unknown log opt 'foo' for json-file log driver"),
        ("local", {"tag": "bar"}, "unknown log opt 'tag' for log driver local"),
        ("foo", {}, 'error looking up logging plugin foo: plugin "foo" not found'),
        ("local", {"mode": "foo"}, "logger: logging mode not supported: foo"),
        (
            "local",
            {"max-buffer-size": "1m"},
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
        ),
        (
            "json-file",
            {"mode": "non-blocking", "max-buffer-size": "zz"},
            "error parsing option max-buffer-size: invalid size: 'zz'",
        ),
    ],
)
def test_refused_at_create(driver: str, config: dict[str, str], message: str) -> None:
    """dockerd's words."""
    with pytest.raises(InvalidParameter) as caught:
        check_log_config(driver, config)
    assert str(caught.value) == message


def test_drivers_of_clouds_are_not_supported() -> None:
    """501 tells them from a driver that does not exist."""
    with pytest.raises(NotSupported, match="logging driver awslogs is not supported"):
        check_log_config("awslogs", {"awslogs-region": "eu-west-1"})


def test_none_takes_any_option() -> None:
    """As in dockerd, which does not look at them."""
    check_log_config("none", {"foo": "bar", "mode": "x"})


@pytest.mark.parametrize(
    ("config", "size"),
    [
        ({}, None),
        ({"mode": "blocking"}, None),
        ({"mode": "non-blocking"}, 1_000_000),
        ({"mode": "non-blocking", "max-buffer-size": "4m"}, 4 * 1024 * 1024),
    ],
)
def test_buffer_of_the_non_blocking_mode(config: dict[str, str], size: int | None) -> None:
    """Units of 1024, and dockerd's 1 MB."""
    assert buffer_bytes(config) == size
