"""What a create request means to clients of other versions: a test for each row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from services.api.versions.create import ROWS, Row, adapted
from services.api.versions.create_body import CreateBody
from services.api.versions.create_draft import Draft
from services.api.versions.version import CURRENT, MINIMUM, ApiVersion
from services.api.wire.json_bodies import decode
from services.errors import EngineError, InvalidParameter

Body = dict[str, Any]

BIND = {"Type": "bind", "Source": "/a", "Target": "/b"}
VOLUME = {"Type": "volume", "Source": "v", "Target": "/v"}
MAC = "02:42:ac:11:00:99"
SYSCTLS = {"Sysctls": {"net.ipv4.conf.eth0.log_martians": "1"}}


def host(**fields: Any) -> Body:
    """A body with this HostConfig."""
    return {"HostConfig": fields}


def mounts(*entries: Body) -> Body:
    """A body with these --mounts."""
    return host(Mounts=list(entries))


def networks(**settings: Body) -> Body:
    """A body with these endpoints."""
    return {"NetworkingConfig": {"EndpointsConfig": settings}}


def draft(body: Body, *, cgroup_v1: bool = True) -> Draft:
    """As the route makes it."""
    decoded = decode(msgspec.json.encode(body), CreateBody)
    mode = decoded.host_config.network_mode
    return Draft(
        body=decoded,
        mode="bridge" if mode in ("", "default") else mode,
        cgroup_v1=cgroup_v1,
    )


def seen(body: Body, minor: int, **options: Any) -> Draft:
    """What becomes of a body that a client of 1.`minor` sent."""
    return adapted(draft(body, **options), ApiVersion(1, minor))


def host_seen(body: Body, minor: int, **options: Any) -> Any:
    """Its HostConfig."""
    return seen(body, minor, **options).body.host_config


def bind_options(body: Body, minor: int) -> Any:
    """The options of its first mount."""
    return host_seen(body, minor).mounts[0].bind_options


def refusal(body: Body, minor: int) -> str:
    """Why it is refused."""
    with pytest.raises(EngineError) as error:
        seen(body, minor)
    return str(error.value)


def test_auto_remove_was_the_clients() -> None:
    """Below 1.25."""
    body = host(AutoRemove=True)
    assert not host_seen(body, 24).auto_remove
    assert host_seen(body, 25).auto_remove


def test_binds_were_always_recursive() -> None:
    """NonRecursive is there since 1.40."""
    body = mounts({**BIND, "BindOptions": {"NonRecursive": True}})
    assert not bind_options(body, 39).non_recursive
    assert bind_options(body, 40).non_recursive


def test_kernel_memory_tcp_had_its_time() -> None:
    """From 1.40 to 1.51."""
    body = host(KernelMemoryTCP=5)
    assert [host_seen(body, minor).kernel_memory_tcp for minor in (39, 40, 51, 52)] == [0, 5, 5, 0]


def test_ipc_was_shareable_by_default() -> None:
    """Below 1.40; what was said stays."""
    assert host_seen({}, 39).ipc_mode == "shareable"
    assert host_seen({}, 40).ipc_mode == ""
    assert host_seen(host(IpcMode="private"), 39).ipc_mode == "private"


def test_the_cgroup_namespace_was_the_hosts_on_cgroup_v1() -> None:
    """Below 1.41."""
    assert host_seen({}, 40).cgroupns_mode == "host"
    assert host_seen({}, 40, cgroup_v1=False).cgroupns_mode == ""
    assert host_seen({}, 41).cgroupns_mode == ""
    assert host_seen(host(CgroupnsMode="private"), 40).cgroupns_mode == "private"


def test_a_binds_source_was_never_made() -> None:
    """CreateMountpoint is there since 1.42."""
    body = mounts({**BIND, "BindOptions": {"CreateMountpoint": True}})
    assert not bind_options(body, 41).create_mountpoint
    assert bind_options(body, 42).create_mountpoint


@pytest.mark.parametrize(
    ("options", "type_"), [("VolumeOptions", "bind"), ("TmpfsOptions", "bind")]
)
def test_options_of_another_type_were_passed_over(options: str, type_: str) -> None:
    """Below 1.42; since then they are refused."""
    body = mounts({**BIND, "Type": type_, options: {}})
    mount = host_seen(body, 41).mounts[0]
    assert mount.volume_options is None
    assert mount.tmpfs_options is None
    assert refusal(body, 42) == f'{options} must not be specified on mount type "{type_}"'


def test_bind_options_of_another_type() -> None:
    """They are refused since 1.42; below, whoever reads the mount decides."""
    body = mounts({**VOLUME, "BindOptions": {}})
    assert host_seen(body, 41).mounts[0].bind_options is not None
    assert refusal(body, 42) == 'BindOptions must not be specified on mount type "volume"'


def test_the_console_had_no_size() -> None:
    """On Linux since 1.42."""
    body = host(ConsoleSize=[10, 20])
    assert host_seen(body, 41).console_size == (0, 0)
    assert host_seen(body, 42).console_size == (10, 20)


def test_kernel_memory_is_gone() -> None:
    """Since 1.42."""
    body = host(KernelMemory=1 << 30)
    assert [host_seen(body, minor).kernel_memory for minor in (24, 41, 42)] == [1 << 30, 1 << 30, 0]


def test_there_were_no_annotations() -> None:
    """They are there since 1.43."""
    body = host(Annotations={"a": "b"})
    assert host_seen(body, 42).annotations is msgspec.UNSET
    assert host_seen(body, 43).annotations == {"a": "b"}


def test_health_checks_had_no_start_interval() -> None:
    """It is there since 1.44."""
    body = {"Healthcheck": {"Test": ["CMD", "x"], "StartInterval": 5_000_000}}

    def interval(minor: int) -> Any:
        health: Any = seen(body, minor).body.healthcheck
        return health.start_interval

    assert (interval(43), interval(44)) == (0, 5_000_000)


def test_read_only_binds_ended_at_the_next_mount() -> None:
    """Since 1.44 they do not, and may be told to insist on it."""
    assert not seen({}, 43).read_only_below
    assert seen({}, 44).read_only_below
    body = mounts({**BIND, "BindOptions": {"ReadOnlyForceRecursive": True}})
    assert refusal(body, 43) == "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer"
    assert bind_options(body, 44).read_only_force_recursive


def test_one_network_at_a_time() -> None:
    """Below 1.44; after that it is not this table's affair."""
    body = networks(a={}, b={})
    assert refusal(body, 43) == "Container cannot be created with multiple network endpoints: a, b"
    assert len(seen(body, 44).endpoints) == 2


def test_a_network_needed_settings() -> None:
    """Below 1.44; since then null is no settings in particular."""
    body = {"NetworkingConfig": {"EndpointsConfig": {"a": None}}}
    assert refusal(body, 43) == "no EndpointSettings for a"
    assert seen(body, 44).endpoints == {"a": None}


def test_the_containers_mac_address_was_its_networks() -> None:
    """Below 1.44 a network's own did not count."""
    for body in ({"MacAddress": MAC}, {"MacAddress": MAC, **networks(bridge={})}):
        settings = seen(body, 43).endpoints["bridge"]
        assert settings is not None
        assert settings.mac_address == MAC
        assert seen(body, 43).warnings == ()
    settings = seen(networks(bridge={"MacAddress": MAC}), 43).endpoints["bridge"]
    assert settings is not None
    assert settings.mac_address == ""
    for mode in ("host", "none", "container:x"):
        assert (
            refusal({"MacAddress": MAC, **host(NetworkMode=mode)}, 43)
            == "conflicting options: mac-address and the network mode"
        )


def test_the_containers_mac_address_is_deprecated() -> None:
    """From 1.44 to 1.51 it must not contradict the network's."""
    body = {"MacAddress": MAC}
    for minor in (44, 51):
        found = seen(body, minor)
        settings = found.endpoints["bridge"]
        assert settings is not None
        assert settings.mac_address == MAC
        assert found.warnings == (
            "The container-wide MacAddress field is now deprecated. It should be specified in "
            "EndpointsConfig instead.",
        )
    assert "must match" in refusal(
        {**body, **networks(bridge={"MacAddress": "02:00:00:00:00:01"})}, 44
    )
    assert "NetworkMode must match" in refusal({**body, **networks(other={})}, 44)
    assert seen({**body, **host(NetworkMode="host")}, 44).endpoints == {}


def test_the_containers_mac_address_is_gone() -> None:
    """Since 1.52."""
    found = seen({"MacAddress": MAC}, 52)
    assert found.endpoints == {}
    assert found.warnings == ()


def test_volumes_had_no_subpaths() -> None:
    """Since 1.45; a client that needs one must not get the whole volume."""
    body = mounts({**VOLUME, "VolumeOptions": {"Subpath": "a"}})
    assert refusal(body, 44) == "VolumeOptions.Subpath needs API v1.45 or newer"
    assert host_seen(body, 45).mounts[0].volume_options.subpath == "a"


def test_networks_had_no_priority() -> None:
    """Since 1.48."""
    body = networks(a={"GwPriority": 7})

    def priority(minor: int) -> int:
        settings = seen(body, minor).endpoints["a"]
        assert settings is not None
        return settings.gw_priority

    assert (priority(47), priority(48)) == (0, 7)
    assert seen({"NetworkingConfig": {"EndpointsConfig": {"a": None}}}, 47).endpoints == {"a": None}


def test_images_could_not_be_mounted() -> None:
    """Since 1.48."""
    body = mounts({"Type": "image", "Source": "busybox", "Target": "/i"})
    assert refusal(body, 47) == 'Mount type "Image" needs API v1.48 or newer'
    assert host_seen(body, 48).mounts[0].type == "image"


def test_sysctls_of_one_interface() -> None:
    """Below 1.48 those of eth0 go to the network's options; others, and later all, are refused."""
    draft = seen(host(Sysctls={"net.ipv4.conf.eth0.a": "1", "net.core.somaxconn": "9"}), 47)
    assert draft.body.host_config.sysctls == {"net.core.somaxconn": "9"}
    (settings,) = draft.endpoints.values()
    assert settings is not None
    assert settings.driver_opts == {
        "com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.a=1"
    }
    assert draft.warnings[0].startswith("Migrated sysctls of eth0 to DriverOpts{")
    with pytest.raises(InvalidParameter):
        seen(host(Sysctls={"net.ipv4.conf.eth1.a": "1"}), 47)
    with pytest.raises(InvalidParameter) as error:
        seen(host(**SYSCTLS), 48)
    assert str(error.value) == (
        'interface specific sysctl setting "net.ipv4.conf.eth0.log_martians" must be supplied '
        "using driver option 'com.docker.network.endpoint.sysctls'"
    )
    for minor in (47, 48):
        assert host_seen(host(Sysctls={"net.ipv4.ip_forward": "1"}), minor).sysctls
        assert host_seen(host(NetworkMode="host", **SYSCTLS), minor).sysctls


def test_a_volume_driver_that_does_not_count_is_warned_of() -> None:
    """Since 1.48; it was the CLI's before."""
    body = mounts(VOLUME)
    body["HostConfig"]["VolumeDriver"] = "local"
    assert seen(body, 47).warnings == ()
    (warning,) = seen(body, 48).warnings
    assert warning.startswith("WARNING: the container-wide volume-driver configuration is ignored")
    body["HostConfig"]["Mounts"] = [{**VOLUME, "VolumeOptions": {"DriverConfig": {"Name": "x"}}}]
    assert seen(body, 48).warnings == ()
    assert seen(mounts(VOLUME), 48).warnings == ()


def test_a_port_without_bindings() -> None:
    """Any host port below 1.53, with a warning at the end; none since."""
    body = host(PortBindings={"80/tcp": [], "81/tcp": [{"HostPort": "1"}]})
    for minor, count in ((51, 0), (52, 1)):
        found = seen(body, minor)
        bindings = found.body.host_config.port_bindings
        assert bindings is not None
        assert [b.host_port for b in bindings["80/tcp"] or ()] == [""]
        assert len(found.warnings) == count
    assert "80/tcp. Starting with API 1.53" in seen(body, 52).warnings[0]
    assert list(host_seen(body, 53).port_bindings) == ["81/tcp"]


@pytest.mark.parametrize("minor", [24, 40, 56])
def test_no_limit_of_processes_is_no_limit(minor: int) -> None:
    """0 and all below mean unlimited, in every version."""
    found = [host_seen(host(PidsLimit=limit), minor).pids_limit for limit in (0, -1, -5, 7)]
    assert found == [None, None, None, 7]


def test_the_present_version_changes_nothing() -> None:
    """But for what no version means."""
    body = {
        **mounts({**BIND, "BindOptions": {"NonRecursive": True, "CreateMountpoint": True}}),
        **networks(bridge={"MacAddress": MAC, "GwPriority": 1}),
        "Healthcheck": {"Test": ["CMD", "x"], "StartInterval": 5_000_000},
    }
    body["HostConfig"] |= {"Annotations": {"a": "b"}, "ConsoleSize": [1, 2], "AutoRemove": True}
    before = draft(body)
    assert adapted(before, CURRENT) == before


BOUNDS: list[Callable[[Row], ApiVersion | None]] = [lambda r: r.since, lambda r: r.below]


def test_every_row_is_for_some_version_that_is_spoken() -> None:
    """A row for versions below the minimum, or above the present one, is dead."""
    for row in ROWS:
        assert any(
            row.is_for(ApiVersion(1, minor)) for minor in range(MINIMUM.minor, CURRENT.minor + 1)
        )
        for bound in BOUNDS:
            version = bound(row)
            assert version is None or MINIMUM < version <= CURRENT
