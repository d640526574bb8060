"""The parameters of POST /build, and what of them this builder refuses."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest

from services.api.routes.build_query import build_request
from services.api.wire.query import parse_query
from services.build import BuildRequest
from services.errors import InvalidParameter, NotSupported


def read(**parameters: str | list[str]) -> BuildRequest:
    return build_request(parse_query(urlencode(parameters, doseq=True).encode()))


def test_nothing_asked_for() -> None:
    """The defaults of dockerd: the cache, intermediate containers removed."""
    request = read()
    assert (request.dockerfile, request.uses_cache, request.removes) == ("Dockerfile", True, True)
    assert (request.always_removes, request.is_quiet, request.pulls) == (False, False, False)
    assert request.cache_from == ()


def test_everything_asked_for() -> None:
    """Each parameter comes where it belongs."""
    request = read(
        dockerfile="d/File", t=["a:1", "b", "a:1"], target="x", nocache="1", pull="1", rm="0",
        forcerm="1", q="1", platform="linux/arm/v6", buildargs='{"A":"1","B":null}',
        labels='{"l":"v"}', cachefrom='["x:1",""]', networkmode="none", memory="1000",
        memswap="-1", cpushares="5", cpuperiod="6", cpuquota="7", cpusetcpus="0", cpusetmems="0",
        shmsize="9", extrahosts=["a:1.2.3.4", "b:5.6.7.8"], cgroupparent="/p",
        ulimits='[{"Name":"nofile","Soft":1,"Hard":2}]', remote="http://x/y",
    )  # fmt: skip
    assert [reference.familiar for reference in request.references] == ["a:1", "b:latest"]
    assert (request.target, request.dockerfile, request.remote) == ("x", "d/File", "http://x/y")
    assert (request.uses_cache, request.pulls, request.removes) == (False, True, False)
    assert (request.always_removes, request.is_quiet) == (True, True)
    assert str(request.platform) == "linux/arm/v6"
    assert request.build_args == {"A": "1", "B": None}
    assert (request.labels, request.cache_from) == ({"l": "v"}, ("x:1",))
    host = request.host
    assert (host.network_mode, host.memory, host.memory_swap) == ("none", 1000, -1)
    assert (host.cpu_shares, host.cpu_period, host.cpu_quota) == (5, 6, 7)
    assert (host.cpuset_cpus, host.cpuset_mems, host.shm_size) == ("0", "0", 9)
    assert host.extra_hosts == ["a:1.2.3.4", "b:5.6.7.8"]
    assert host.cgroup_parent == "/p"
    assert host.ulimits is not None
    assert (host.ulimits[0].name, host.ulimits[0].hard) == ("nofile", 2)


@pytest.mark.parametrize(
    "parameters", [{"squash": "1"}, {"outputs": "1"}, {"version": "1", "session": "abc"}]
)
def test_what_this_builder_cannot(parameters: dict[str, str]) -> None:
    """It is refused as a whole, not built without it."""
    with pytest.raises(NotSupported):
        read(**parameters)


@pytest.mark.parametrize(
    "parameters",
    [
        {"t": "UPPER"},
        {"t": f"a@sha256:{'0' * 64}"},
        {"buildargs": "{"},
        {"buildargs": '{"A":1}'},
        {"labels": "[]"},
        {"cachefrom": "x:1"},
        {"platform": "a/b/c/d"},
        {"platform": "linux//v6"},
        {"memory": "much"},
        {"ulimits": "{}"},
        {"t": "sha256:abc"},
        {"isolation": "hyperv"},
        {"securityopt": "[]"},
    ],
)
def test_what_is_malformed(parameters: dict[str, str]) -> None:
    """The client's mistake."""
    with pytest.raises(InvalidParameter):
        read(**parameters)
