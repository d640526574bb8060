"""Options of drivers that send elsewhere are refused at create, in dockerd 20.10's own words."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from services.containers.logs import FileOptions, check_log_config, parse_file_options
from services.containers.logs.remote.endpoints import Endpoint
from services.containers.logs.remote.fluentd import parse_fluentd
from services.containers.logs.remote.gelf import parse_gelf
from services.containers.logs.remote.options import is_cached, waiting_bytes
from services.containers.logs.remote.syslog import parse_syslog
from services.errors import InvalidParameter

UDP = {"gelf-address": "udp://1.2.3.4:1"}
TCP = {"gelf-address": "tcp://1.2.3.4:1"}


@pytest.mark.parametrize(
    ("driver", "config", "message"),
    [
        # Recorded from dockerd 20.10.
        (
            "syslog",
            {"syslog-address": "1.2.3.4"},
            "syslog-address should be in form proto://address, got 1.2.3.4",
        ),
        ("syslog", {"syslog-address": "unix:///nope"}, "stat /nope: no such file or directory"),
        (
            "syslog",
            {"syslog-address": "tcp://a:b:c"},
            'parse "tcp://a:b:c": invalid port ":c" after host',
        ),
        ("syslog", {"syslog-facility": "foo"}, "invalid syslog facility"),
        ("syslog", {"syslog-facility": "24"}, "invalid syslog facility"),
        ("syslog", {"syslog-facility": "local8"}, "invalid syslog facility"),
        ("syslog", {"syslog-format": "x"}, "Invalid syslog format"),
        ("syslog", {"nope": "x"}, "unknown log opt 'nope' for syslog log driver"),
        ("syslog", {"mode": "x"}, "logger: logging mode not supported: x"),
        ("gelf", {}, "gelf-address is a required parameter"),
        (
            "gelf",
            {"gelf-address": "1.2.3.4:1"},
            "gelf-address should be in form proto://address, got 1.2.3.4:1",
        ),
        ("gelf", {"gelf-address": "unix:///x"}, "gelf: endpoint needs to be TCP or UDP"),
        (
            "gelf",
            {"gelf-address": "udp://1.2.3.4"},
            "gelf: please provide gelf-address as proto://host:port",
        ),
        (
            "gelf",
            {"gelf-address": "udp://1.2.3.4:zz"},
            'parse "udp://1.2.3.4:zz": invalid port ":zz" after host',
        ),
        (
            "gelf",
            {**UDP, "gelf-compression-type": "x"},
            'unknown value "x" for log opt "gelf-compression-type" for gelf log driver',
        ),
        (
            "gelf",
            {**UDP, "gelf-compression-level": "10"},
            'unknown value "10" for log opt "gelf-compression-level" for gelf log driver',
        ),
        ("gelf", {**TCP, "gelf-compression-level": "1"}, "compression is only supported on UDP"),
        (
            "gelf",
            {**UDP, "gelf-tcp-max-reconnect": "1"},
            '"gelf-tcp-max-reconnect" is only valid for TCP',
        ),
        (
            "gelf",
            {**TCP, "gelf-tcp-max-reconnect": "-1"},
            '"gelf-tcp-max-reconnect" must be a positive integer',
        ),
        ("gelf", {**UDP, "nope": "1"}, 'unknown log opt "nope" for gelf log driver'),
        ("fluentd", {"nope": "x"}, "unknown log opt 'nope' for fluentd log driver"),
        (
            "fluentd",
            {"fluentd-address": "a:b:c"},
            "invalid fluentd-address a:b:c: address a:b:c: too many colons in address",
        ),
        (
            "fluentd",
            {"fluentd-address": "x:zz"},
            'invalid fluentd-address x:zz: strconv.Atoi: parsing "zz": invalid syntax',
        ),
        ("fluentd", {"fluentd-buffer-limit": "zz"}, "invalid size: 'zz'"),
        ("fluentd", {"fluentd-retry-wait": "zz"}, 'time: invalid duration "zz"'),
        (
            "fluentd",
            {"fluentd-max-retries": "-1"},
            'strconv.ParseUint: parsing "-1": invalid syntax',
        ),
        ("fluentd", {"fluentd-async": "zz"}, 'strconv.ParseBool: parsing "zz": invalid syntax'),
        (
            "fluentd",
            {"fluentd-async": "true", "fluentd-async-connect": "true"},
            "conflicting options: cannot specify both 'fluentd-async' and 'fluentd-async-connect",
        ),
        ("journald", {"nope": "x"}, "unknown log opt 'nope' for journald log driver"),
        ("journald", {"cache-disabled": "zz"}, "invalid value for option cache-disabled: zz"),
        ("json-file", {"cache-disabled": "zz"}, "invalid value for option cache-disabled: zz"),
        # As newer ones have it.
        (
            "fluentd",
            {"fluentd-address": "udp://x"},
            "invalid fluentd-address udp://x: unsupported scheme: 'udp'",
        ),
        (
            "fluentd",
            {"fluentd-async-reconnect-interval": "1ms"},
            'invalid value for fluentd-async-reconnect-interval: value ("1ms") must be between '
            "100ms and 10s",
        ),
    ],
)
def test_refused(driver: str, config: dict[str, str], message: str) -> None:
    """Each with its sentence."""
    with pytest.raises(InvalidParameter) as caught:
        check_log_config(driver, config)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("udp://1.2.3.4", Endpoint(scheme="udp", host="1.2.3.4", port=514)),
        ("tcp+tls://[::1]:99", Endpoint(scheme="tcp+tls", host="::1", port=99)),
        ("", None),
    ],
)
def test_syslog_addresses(text: str, endpoint: Endpoint | None) -> None:
    """Port 514 where none is named; nothing is the machine's own."""
    assert parse_syslog({"syslog-address": text}).endpoint == endpoint


def test_syslog_takes_a_socket_that_is_there(tmp_path: Path) -> None:
    """Its kind is in the scheme."""
    (tmp_path / "s").touch()
    options = parse_syslog({"syslog-address": f"unixgram://{tmp_path}/s", "syslog-facility": "3"})
    assert options.endpoint == Endpoint(scheme="unixgram", path=f"{tmp_path}/s")
    assert options.facility == 3


def test_fluentd_and_gelf() -> None:
    """Defaults, units, durations."""
    options = parse_fluentd({"fluentd-buffer-limit": "2m", "fluentd-retry-wait": "1m1.5s"})
    assert options.endpoint == Endpoint(scheme="tcp", host="127.0.0.1", port=24224)
    assert (options.buffer_bytes, options.retry_s) == (2 << 20, 61.5)
    assert options.session_s == math.inf
    assert parse_fluentd({"fluentd-address": "h"}).endpoint.port == 24224
    assert parse_fluentd({"fluentd-async-reconnect-interval": "500ms"}).session_s == 0.5
    assert parse_gelf({**UDP, "gelf-compression-level": "-1"}).level == -1
    assert parse_gelf({**TCP, "gelf-tcp-reconnect-delay": "3"}).retry_s == 3.0


def test_the_cache_has_options_of_its_own() -> None:
    """Those of the local driver, with a prefix; without a cache a little is kept for sending."""
    config = {"cache-max-size": "1m", "cache-max-file": "2", "cache-compress": "false"}
    assert parse_file_options("syslog", config) == FileOptions(max_bytes=1_000_000, max_files=2)
    assert parse_file_options("gelf", {}).compress
    assert is_cached(config)
    assert not is_cached({"cache-disabled": "true"})
    outbox = parse_file_options("syslog", {"cache-disabled": "1", "cache-max-size": "zz"})
    assert (outbox.max_bytes, outbox.max_files) == (4 << 20, 2)
    with pytest.raises(InvalidParameter, match="error initializing local log cache driver: "):
        parse_file_options("syslog", {"cache-max-size": "zz"})


def test_what_may_wait() -> None:
    """The buffer of the non-blocking mode, fluentd's own, or ours."""
    assert waiting_bytes("syslog", {}, 1000) == 1000
    assert waiting_bytes("syslog", {}, None) == 4 << 20
    assert waiting_bytes("fluentd", {"fluentd-buffer-limit": "1k"}, None) == 1024
