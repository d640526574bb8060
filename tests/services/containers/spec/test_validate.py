"""validate: dockerd's refusals and warnings, and the swap arithmetic."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.containers.config import (
    ContainerConfig,
    DeviceMapping,
    DeviceRequest,
    HealthConfig,
    HostConfig,
    PortBinding,
    RestartPolicy,
    ThrottleDevice,
    Ulimit,
)
from services.containers.spec import (
    SpecDefaults,
    adapt_host_config,
    check_resources,
    normalized_working_dir,
    parse_signal,
    validate,
)
from services.containers.spec.resources import swap_limit
from services.containers.spec.validate_resources import MIN_MEMORY_BYTES, parse_cpu_list
from services.errors import InvalidParameter
from services.system import CgroupFacts, HostFacts
from tests.services.containers.spec.builders import V1, V2, with_host

_MB = 1024 * 1024


def _validate(
    host: HostConfig | None = None,
    config: ContainerConfig | None = None,
    facts: HostFacts = V1,
    defaults: SpecDefaults | None = None,
) -> tuple[HostConfig, list[str]]:
    defaults = defaults or SpecDefaults()
    adapted = adapt_host_config(host or with_host(), facts, defaults)
    return validate(config or ContainerConfig(), adapted, facts, defaults)


def test_a_plain_container_passes_without_warnings() -> None:
    """On either cgroup version."""
    for facts in (V1, V2):
        host, warnings = _validate(facts=facts)
        assert warnings == []
        assert host.shm_size == 64 * _MB
        assert host.ipc_mode == "private"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"memory": _MB}, "Minimum memory limit allowed is 6MB"),
        (
            {"memory_swap": 100 * _MB},
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        ),
        (
            {"memory": 50 * _MB, "memory_swap": 40 * _MB},
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ),
        (
            {"memory": 50 * _MB, "memory_reservation": 60 * _MB},
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        ),
        ({"memory_reservation": _MB}, "Minimum memory reservation allowed is 6MB"),
        ({"memory_swappiness": 101}, "Invalid value: 101, valid memory swappiness range is 0-100"),
        (
            {"nano_cpus": 3 * 10**9},
            "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available",
        ),
        (
            {"nano_cpus": 10**9, "cpu_period": 1000},
            "Conflicting options: Nano CPUs and CPU Period cannot both be set",
        ),
        (
            {"nano_cpus": 10**9, "cpu_quota": 1000},
            "Conflicting options: Nano CPUs and CPU Quota cannot both be set",
        ),
        (
            {"cpu_period": 999},
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ),
        ({"cpu_quota": 999}, "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
        (
            {"cpuset_cpus": "7"},
            "Requested CPUs are not available - requested 7, available: 0-1",
        ),
        ({"cpuset_cpus": "a"}, "Invalid value a for cpuset cpus: invalid format: a"),
        ({"cpuset_cpus": "0,"}, "Invalid value 0, for cpuset cpus: invalid format: 0,"),
        ({"cpuset_cpus": "1-0"}, "Invalid value 1-0 for cpuset cpus: invalid format: 1-0"),
        ({"cpuset_mems": "-1"}, "Invalid value -1 for cpuset mems: invalid format: -1"),
        (
            {"cpuset_cpus": "0-100000"},
            "Invalid value 0-100000 for cpuset cpus: value of out range, maximum is 8192",
        ),
        ({"kernel_memory": _MB}, "Minimum kernel memory limit allowed is 6MB"),
        (
            {"storage_opt": {"size": "1G"}},
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
        ),
        ({"storage_opt": {"foo": "1"}}, "unknown option foo"),
        (
            {"device_requests": [DeviceRequest(driver="cdi", count=1)]},
            "unexpected count in CDI device request",
        ),
        (
            {"device_requests": [DeviceRequest(driver="cdi", options={"a": "b"})]},
            "unexpected options in CDI device request",
        ),
        ({"runtime": "/bin/runc.v2"}, "unknown or invalid runtime name: /bin/runc.v2"),
        ({"runtime": ".v2"}, "unknown or invalid runtime name: .v2"),
        ({"userns_mode": "private"}, "invalid userns mode: private"),
        ({"tmpfs": {"/x": "foo=1"}}, 'invalid tmpfs option ["foo" "1"]'),
        (
            {"cpuset_mems": "3"},
            "Requested memory nodes are not available - requested 3, available: 0",
        ),
        ({"blkio_weight": 5}, "Range of blkio weight is from 10 to 1000"),
        (
            {"cpu_realtime_period": 10, "cpu_realtime_runtime": 20},
            "cpu real-time runtime cannot be higher than cpu real-time period",
        ),
        ({"cpu_realtime_period": -1}, "cpu real-time period and runtime cannot be negative"),
        ({"ipc_mode": "foo"}, "invalid IPC mode: foo"),
        ({"pid_mode": "container:"}, "invalid PID mode: container:"),
        ({"uts_mode": "x"}, "invalid UTS mode: x"),
        ({"cgroupns_mode": "x"}, "invalid cgroup namespace mode: x"),
        ({"shm_size": -1}, "SHM size can not be less than 0"),
        (
            {"oom_score_adj": -1001},
            "Invalid value -1001, range for oom score adj is [-1000, 1000]",
        ),
        ({"runtime": "nope"}, "unknown or invalid runtime name: nope"),
        ({"isolation": "hyperv"}, "Invalid isolation: \"hyperv\" - linux only supports 'default'"),
        ({"cap_add": ["foo"]}, 'invalid CapAdd: unknown capability: "CAP_FOO"'),
        ({"cap_drop": ["foo"]}, 'invalid CapDrop: unknown capability: "CAP_FOO"'),
        ({"security_opt": ["foo"]}, 'invalid --security-opt 1: "foo"'),
        ({"security_opt": ["foo=1"]}, 'invalid --security-opt 2: "foo=1"'),
        (
            {"auto_remove": True, "restart_policy": RestartPolicy(name="always")},
            "can't create 'AutoRemove' container with restart policy",
        ),
        (
            {"restart_policy": RestartPolicy(name="always", maximum_retry_count=3)},
            "invalid restart policy: maximum retry count can only be used with 'on-failure'",
        ),
        (
            {"restart_policy": RestartPolicy(name="on-failure", maximum_retry_count=-1)},
            "invalid restart policy: maximum retry count cannot be negative",
        ),
        (
            {"restart_policy": RestartPolicy(name="maybe")},
            "invalid restart policy: unknown policy 'maybe'; use one of 'no', 'always', "
            "'on-failure', or 'unless-stopped'",
        ),
        ({"extra_hosts": ["a"]}, 'bad format for add-host: "a"'),
        ({"extra_hosts": ["a:1.2.3"]}, 'invalid IP address in add-host: "1.2.3"'),
        (
            {"port_bindings": {"80/tcp": [PortBinding(host_port="99999")]}},
            'invalid port specification: "99999"',
        ),
        ({"sysctls": {"kernel.panic": "1"}}, "is not in a separate kernel namespace"),
        ({"device_cgroup_rules": ["z 1:2 r"]}, "invalid device cgroup rule format: 'z 1:2 r'"),
        (
            {"devices": [DeviceMapping(path_on_host="/dev/x", cgroup_permissions="rx")]},
            "invalid device mode: rx",
        ),
        ({"ulimits": [Ulimit(name="foo", soft=1, hard=1)]}, "invalid ulimit type: foo"),
        (
            {"device_requests": [DeviceRequest(driver="other", capabilities=[["gpu"]])]},
            'could not select device driver "other" with capabilities: [[gpu]]',
        ),
        (
            {"device_requests": [DeviceRequest(capabilities=[["gpu", "unheard-of"]])]},
            'could not select device driver "" with capabilities: [[gpu unheard-of]]',
        ),
        (
            {"device_requests": [DeviceRequest(count=1, device_ids=["0"], capabilities=[["gpu"]])]},
            "cannot set both Count and DeviceIDs on device request.",
        ),
        ({"tmpfs": {"x": ""}}, "invalid mount path: 'x' mount path must be absolute"),
        ({"network_mode": "container:"}, "invalid container format container:<name|id>"),
        (
            {"network_mode": "container:a", "publish_all_ports": True},
            "conflicting options: port publishing and the container type network mode",
        ),
        (
            {"network_mode": "host", "links": ["a:b"]},
            "conflicting options: host type networking can't be used with links.",
        ),
    ],
)
def test_impossible_host_settings_are_refused(fields: dict[str, Any], message: str) -> None:
    """Each with dockerd's text."""
    with pytest.raises(InvalidParameter, match=re.escape(message)):
        _validate(with_host(**fields))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"working_dir": "x"},
            "the working directory 'x' is invalid, it needs to be an absolute path",
        ),
        ({"stop_signal": "NOPE"}, "invalid signal: NOPE"),
        ({"env": ["=x"]}, "invalid environment variable: =x"),
        (
            {"healthcheck": HealthConfig(interval=1)},
            "Interval in Healthcheck cannot be less than 1ms",
        ),
        ({"healthcheck": HealthConfig(retries=-1)}, "Retries in Healthcheck cannot be negative"),
    ],
)
def test_impossible_container_settings_are_refused(fields: dict[str, Any], message: str) -> None:
    """Each with dockerd's text."""
    with pytest.raises(InvalidParameter, match=re.escape(message)):
        _validate(config=ContainerConfig(**fields))


def test_conflicts_of_a_shared_network_name_the_setting() -> None:
    """A container that shares another's network cannot have a host name of its own."""
    with pytest.raises(
        InvalidParameter, match="conflicting options: hostname and the network mode"
    ):
        _validate(with_host(network_mode="container:a"), ContainerConfig(hostname="h"))
    with pytest.raises(InvalidParameter, match="conflicting options: hostname and the UTS mode"):
        _validate(with_host(uts_mode="host"), ContainerConfig(hostname="h"))


_NOTHING = HostFacts(
    ncpu=2,
    ipv4_forwarding=False,
    cgroup=CgroupFacts(
        version="1", memory_limit=False, swap_limit=False, memory_reservation=False,
        memory_swappiness=False, oom_kill_disable=False, cpu_shares=False, cpu_cfs=False,
        cpuset=False, pids_limit=False, blkio_weight=False, blkio_weight_device=False,
        blkio_throttle_read_bps=False, namespaces=False,
    ),
)  # fmt: skip


def test_what_the_kernel_lacks_is_dropped_with_a_warning() -> None:
    """Every limit goes, every one is told, and what is left validates clean."""
    asked = with_host(
        network_mode="bridge",
        memory=64 * _MB,
        memory_reservation=32 * _MB,
        memory_swappiness=10,
        oom_kill_disable=True,
        pids_limit=10,
        cpu_shares=100,
        cpu_quota=5000,
        cpuset_cpus="0",
        blkio_weight=100,
        blkio_device_read_bps=[ThrottleDevice(path="/dev/x", rate=1)],
        cgroupns_mode="private",
    )
    host, warnings = _validate(asked, facts=_NOTHING)
    assert (host.memory, host.memory_swap, host.memory_reservation) == (0, -1, 0)
    assert (host.cpu_shares, host.cpu_quota, host.cpuset_cpus) == (0, 0, "")
    assert host.pids_limit is None
    assert host.memory_swappiness is None
    assert host.blkio_device_read_bps == []
    expected = (
        "memory limit", "memory soft limit", "memory swappiness", "OomKillDisable", "PIDs limit",
        "CPU shares", "CPU CFS", "cpuset", "Block I/O weight", "BPS Block I/O read",
        "cgroup namespaces",
    )  # fmt: skip
    for text in expected:
        assert any(w.startswith(f"Your kernel does not support {text}") for w in warnings), text
    assert warnings.count("IPv4 forwarding is disabled. Networking will not work.") == 1
    again = check_resources(host, _NOTHING)
    assert again == (host, [])


def test_a_kernel_without_swap_accounting_limits_memory_alone() -> None:
    """The memory limit holds, swap is left unlimited, and the client is told."""
    cgroup = dataclasses.replace(V2.cgroup, swap_limit=False)
    host, warnings = _validate(with_host(memory=64 * _MB), facts=HostFacts(cgroup=cgroup))
    assert (host.memory, host.memory_swap) == (64 * _MB, -1)
    assert warnings == [
        "Your kernel does not support swap limit capabilities or the cgroup is not mounted. "
        "Memory limited without swap."
    ]


@given(
    memory=st.integers(0, 2**40),
    swap=st.one_of(st.just(-1), st.just(0), st.integers(1, 2**41)),
)
def test_swap_arithmetic(memory: int, swap: int) -> None:
    """Unset is twice the memory; what validates is unlimited, none, or at least the memory."""
    assert swap_limit(memory, swap) == (memory * 2 if memory and not swap else swap)
    try:
        host, _ = _validate(with_host(memory=memory, memory_swap=swap))
    except InvalidParameter:
        refused = 0 < memory < MIN_MEMORY_BYTES or 0 < swap < memory or (swap > 0 and not memory)
        assert refused
        return
    assert host.memory == memory
    assert host.memory_swap in (0, -1) or host.memory_swap >= memory


@given(numbers=st.sets(st.integers(0, 8191), max_size=20))
def test_cpu_lists_are_read_as_the_kernel_writes_them(numbers: set[int]) -> None:
    """Singles and ranges in any order."""
    text = ",".join(str(n) for n in numbers)
    assert parse_cpu_list(text) == numbers
    assert parse_cpu_list("0-3,7") == {0, 1, 2, 3, 7}
    assert parse_cpu_list("") == set()
    for bad in ("3-1", "x", "1-", "99999999999", ",", "1,,2", " 1", "-1", "+1", "8193", "٣"):
        with pytest.raises(ValueError):
            parse_cpu_list(bad)


def test_adapting_fills_in_dockers_defaults_once() -> None:
    """Adapting the adapted changes nothing; privileged keeps its paths open and labels off."""
    defaults = SpecDefaults()
    for host in (with_host(memory=10 * _MB, cpu_shares=1), with_host(privileged=True)):
        once = adapt_host_config(host, V1, defaults)
        assert adapt_host_config(once, V1, defaults) == once
    plain = adapt_host_config(with_host(cpu_shares=1), V1, defaults)
    assert plain.cpu_shares == 2
    assert plain.runtime == "runc"
    assert plain.masked_paths
    privileged = adapt_host_config(with_host(privileged=True), V2, defaults)
    assert privileged.masked_paths is None
    assert privileged.security_opt == ["label=disable"]
    assert privileged.cgroupns_mode == "private"


@pytest.mark.parametrize(
    ("text", "number"),
    [("TERM", 15), ("sigkill", 9), ("9", 9), ("RTMIN", 34), ("SIGRTMIN+3", 37), ("RTMAX-2", 62)],
)
def test_signals_by_name_and_number(text: str, number: int) -> None:
    """Any case, with or without SIG, real-time ones by distance."""
    assert parse_signal(text) == number


@pytest.mark.parametrize("text", ["", "0", "65", "FOO", "RTMIN+40", "-9"])
def test_bad_signals_are_refused(text: str) -> None:
    """With the text that was sent."""
    with pytest.raises(InvalidParameter, match=re.escape(f"invalid signal: {text}")):
        parse_signal(text)


def test_working_directories_are_cleaned() -> None:
    """As dockerd stores them."""
    assert normalized_working_dir("/a//b/../c/") == "/a/c"
    assert normalized_working_dir("") == ""
    assert normalized_working_dir("a/b") == "a/b"  # for whoever refuses it


def test_validation_changes_nothing_that_the_kernel_can_do() -> None:
    """On a capable host the config comes back as it was."""
    asked = adapt_host_config(
        with_host(memory=64 * _MB, cpu_shares=512, pids_limit=5, blkio_weight=100),
        V1,
        SpecDefaults(),
    )
    host, warnings = validate(ContainerConfig(), asked, V1, SpecDefaults())
    assert msgspec.to_builtins(host) == msgspec.to_builtins(asked)
    assert warnings == []


def test_kernel_memory_is_deprecated_or_lacking() -> None:
    """Clients below 1.42 may ask for it; the kernel must have it, and it is on its way out."""
    host, warnings = _validate(with_host(kernel_memory=64 * _MB))
    assert host.kernel_memory == 64 * _MB
    assert warnings == [
        "Specifying a kernel memory limit is deprecated and will be removed in a future release."
    ]
    cgroup = dataclasses.replace(V2.cgroup, kernel_memory=False)
    host, warnings = _validate(with_host(kernel_memory=1), facts=HostFacts(cgroup=cgroup))
    assert host.kernel_memory == 0
    assert warnings == [
        "Your kernel does not support kernel memory limit capabilities or the cgroup is not "
        "mounted. Limitation discarded."
    ]


def test_devices_by_cdi_may_be_asked_for_where_it_is_on() -> None:
    """Switched off, there is no such driver."""
    asked = with_host(device_requests=[DeviceRequest(driver="cdi", device_ids=["a/b=c"])])
    assert _validate(asked)[1] == []
    with pytest.raises(InvalidParameter) as refusal:
        _validate(asked, defaults=SpecDefaults(cdi=False))
    assert str(refusal.value) == 'could not select device driver "cdi" with capabilities: []'


def test_a_shim_of_its_own_is_a_runtime() -> None:
    """containerd says at the start whether it has it."""
    assert _validate(with_host(runtime="io.containerd.kata.v2"))[0].runtime
