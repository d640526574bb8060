"""build_spec against what dockerd 20.10 wrote for the same options, and option by option."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from services.containers.config import ContainerConfig, DeviceMapping, HostConfig, Ulimit
from services.containers.spec import (
    DeviceNode,
    HostDevices,
    MountPoint,
    NamespacePaths,
    NetworkFiles,
    ResolvedUser,
    SpecDefaults,
    build_exec_process,
    build_spec,
)
from services.containers.spec.build import MASKED_PATHS
from services.errors import InvalidParameter
from services.system import CgroupFacts, HostFacts, RlimitPair
from services.system.capabilities import CAPABILITY_NAMES
from tests.services.containers.spec.builders import ID, V1, V2, inputs, with_host

# `docker run -d --network none -m 64m` as dockerd 20.10.24 wrote it, paths shortened.
REFERENCE: dict[str, Any] = {
    "process": {
        "user": {"uid": 0, "gid": 0, "additionalGids": [0, 29]},
        "args": ["sleep", "1000"],
        "env": [
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOSTNAME=4e1fbd5e55f0",
        ],
        "cwd": "/",
        "oomScoreAdj": 0,
    },
    "hostname": "4e1fbd5e55f0",
    "mounts": [
        ("/proc", "proc", "proc", "nosuid noexec nodev"),
        ("/dev", "tmpfs", "tmpfs", "nosuid strictatime mode=755 size=65536k"),
        (
            "/dev/pts",
            "devpts",
            "devpts",
            "nosuid noexec newinstance ptmxmode=0666 mode=0620 gid=5",
        ),
        ("/sys", "sysfs", "sysfs", "nosuid noexec nodev ro"),
        ("/sys/fs/cgroup", "cgroup", "cgroup", "ro nosuid noexec nodev"),
        ("/dev/mqueue", "mqueue", "mqueue", "nosuid noexec nodev"),
        ("/dev/shm", "tmpfs", "shm", "nosuid noexec nodev mode=1777 size=67108864"),
        ("/etc/resolv.conf", "bind", "/c/resolv.conf", "rbind rprivate"),
        ("/etc/hostname", "bind", "/c/hostname", "rbind rprivate"),
        ("/etc/hosts", "bind", "/c/hosts", "rbind rprivate"),
    ],
    "sysctl": {
        "net.ipv4.ip_unprivileged_port_start": "0",
        "net.ipv4.ping_group_range": "0 2147483647",
    },
    "devices": [
        (False, None, None, None),
        (True, "c", 1, 5),
        (True, "c", 1, 3),
        (True, "c", 1, 9),
        (True, "c", 1, 8),
        (True, "c", 5, 0),
        (True, "c", 5, 1),
        (False, "c", 10, 229),
    ],
    "memory": {"limit": 67108864, "swap": 134217728, "disableOOMKiller": False},
    "namespaces": {"mount", "network", "uts", "pid", "ipc"},
}
FILES = NetworkFiles(hostname="/c/hostname", hosts="/c/hosts", resolv_conf="/c/resolv.conf")


def _mounts(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {mount["destination"]: mount for mount in spec["mounts"]}


def _namespaces(spec: dict[str, Any]) -> dict[str, str]:
    return {entry["type"]: entry.get("path", "") for entry in spec["linux"]["namespaces"]}


def test_a_plain_container_equals_dockerds() -> None:
    """Field by field the same as the reference's; mount options compared without order."""
    user = ResolvedUser(uid=0, gid=0, groups=(29,))
    spec = build_spec(inputs(host=with_host(memory=64 * 1024 * 1024), files=FILES, user=user))
    process = spec["process"]
    assert {key: process[key] for key in REFERENCE["process"]} == REFERENCE["process"]
    assert spec["hostname"] == REFERENCE["hostname"]
    got = [(m["destination"], m["type"], m["source"], set(m["options"])) for m in spec["mounts"]]
    assert got == [(d, t, s, set(o.split())) for d, t, s, o in REFERENCE["mounts"]]
    linux = spec["linux"]
    assert linux["sysctl"] == REFERENCE["sysctl"]
    rules = [
        (r["allow"], r.get("type"), r.get("major"), r.get("minor"))
        for r in linux["resources"]["devices"]
    ]
    assert rules == REFERENCE["devices"]
    assert linux["resources"]["memory"] == REFERENCE["memory"]
    assert set(_namespaces(spec)) == REFERENCE["namespaces"]
    assert linux["cgroupsPath"] == f"/docker/{ID}"


def test_privileged_lifts_what_confines() -> None:
    """All capabilities that we hold, the host's devices, no masks, no filter, writable /sys."""
    node = DeviceNode(path="/dev/kvm", type="c", major=10, minor=232)
    spec = build_spec(inputs(host=with_host(privileged=True), devices=HostDevices(all=(node,))))
    linux, mounts = spec["linux"], _mounts(spec)
    assert spec["process"]["capabilities"]["bounding"] == list(CAPABILITY_NAMES)
    assert linux["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert [device["path"] for device in linux["devices"]] == ["/dev/kvm"]
    assert linux["maskedPaths"] == linux["readonlyPaths"] == []
    assert "seccomp" not in linux
    assert "ro" not in mounts["/sys"]["options"]
    assert "ro" not in mounts["/sys/fs/cgroup"]["options"]


def test_read_only_root_leaves_what_programs_need() -> None:
    """/dev and its parts stay writable, the engine's files and /sys do not; user mounts may be."""
    point = MountPoint(type="bind", source="/s", destination="/data", propagation="rprivate")
    spec = build_spec(inputs(host=with_host(readonly_rootfs=True), files=FILES, mounts=(point,)))
    mounts = _mounts(spec)
    assert spec["root"]["readonly"] is True
    for destination in ("/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/data"):
        assert "ro" not in mounts[destination]["options"], destination
    for destination in ("/etc/hosts", "/sys"):
        assert "ro" in mounts[destination]["options"], destination


def test_user_mounts_replace_ours_and_parents_come_first() -> None:
    """A bind on /etc/hosts hides ours; one on /dev removes ours below; sorted by depth."""
    points = (
        MountPoint(type="bind", source="/deep", destination="/a/b/c"),
        MountPoint(type="bind", source="/h", destination="/etc/hosts", rw=False),
        MountPoint(type="bind", source="/d", destination="/dev"),
        MountPoint(type="tmpfs", destination="/a", tmpfs_data="size=1m,exec"),
    )
    spec = build_spec(inputs(mounts=points, files=FILES))
    mounts = _mounts(spec)
    assert mounts["/etc/hosts"]["source"] == "/h"
    assert "rro" in mounts["/etc/hosts"]["options"]
    assert "/dev/pts" not in mounts
    assert set(mounts["/a"]["options"]) == {"nosuid", "nodev", "rprivate", "size=1m", "exec"}
    order = [mount["destination"] for mount in spec["mounts"]]
    assert order.index("/a") < order.index("/a/b/c")


@pytest.mark.parametrize(
    ("facts", "privileged", "expected"),
    [(V1, False, False), (V2, False, True), (V1, True, False), (V2, True, True)],
)
def test_cgroup_namespaces_are_private_on_v2(
    facts: HostFacts, privileged: bool, expected: bool
) -> None:
    """By default private on cgroup v2, even when privileged; the host's on v1."""
    spec = build_spec(inputs(host=with_host(privileged=privileged), facts=facts))
    assert ("cgroup" in _namespaces(spec)) is expected


@pytest.mark.parametrize(
    ("host", "namespaces", "absent", "joined"),
    [
        (HostConfig(network_mode="host"), NamespacePaths(), "network", {}),
        (with_host(pid_mode="host"), NamespacePaths(), "pid", {}),
        (with_host(ipc_mode="host"), NamespacePaths(), "ipc", {}),
        (with_host(uts_mode="host"), NamespacePaths(), "uts", {}),
        (
            with_host(pid_mode="container:x", ipc_mode="container:x"),
            NamespacePaths(pid="/proc/7/ns/pid", ipc="/proc/7/ns/ipc", network="/run/netns/1"),
            "",
            {"pid": "/proc/7/ns/pid", "ipc": "/proc/7/ns/ipc", "network": "/run/netns/1"},
        ),
    ],
)
def test_namespace_modes(
    host: HostConfig, namespaces: NamespacePaths, absent: str, joined: dict[str, str]
) -> None:
    """host leaves a namespace out; container: and ready network namespaces join by path."""
    got = _namespaces(build_spec(inputs(host=host, namespaces=namespaces)))
    assert absent not in got
    assert {name: got[name] for name in joined} == joined


def test_joining_without_a_path_is_refused() -> None:
    """A container: mode whose path nobody resolved must not silently get a new namespace."""
    with pytest.raises(InvalidParameter, match="no pid namespace to join"):
        build_spec(inputs(host=with_host(pid_mode="container:gone")))


def test_the_hosts_network_gets_no_sysctls_of_ours() -> None:
    """They would change the host."""
    assert build_spec(inputs(host=HostConfig(network_mode="host")))["linux"]["sysctl"] == {}


def test_sysctls_of_the_user_win_over_ours() -> None:
    """Ours are only defaults; the domain name is a sysctl."""
    host = with_host(sysctls={"net.ipv4.ip_unprivileged_port_start": "80"})
    config = ContainerConfig(hostname="h", domainname="example.org")
    sysctl = build_spec(inputs(host=host, config=config))["linux"]["sysctl"]
    assert sysctl["net.ipv4.ip_unprivileged_port_start"] == "80"
    assert sysctl["kernel.domainname"] == "example.org"


def test_ipc_modes_decide_dev_shm() -> None:
    """none has none, private a tmpfs of its own, the others a shared directory."""
    none = _mounts(build_spec(inputs(host=with_host(ipc_mode="none"))))
    private = _mounts(build_spec(inputs(host=with_host(shm_size=4096))))
    shared = _mounts(build_spec(inputs(host=with_host(ipc_mode="shareable"), shm_path="/x/shm")))
    assert "/dev/shm" not in none
    assert "size=4096" in private["/dev/shm"]["options"]
    assert shared["/dev/shm"] == {
        "destination": "/dev/shm",
        "type": "bind",
        "source": "/x/shm",
        "options": ["rbind", "rprivate"],
    }


def test_init_comes_first_and_is_mounted_unless_pids_are_shared() -> None:
    """tini wraps the command only in a PID namespace of the container's own."""
    defaults = SpecDefaults(init_path="/usr/bin/tini")
    spec = build_spec(inputs(host=with_host(init=True), defaults=defaults))
    assert spec["process"]["args"] == ["/sbin/docker-init", "--", "sleep", "1000"]
    assert _mounts(spec)["/sbin/docker-init"]["source"] == "/usr/bin/tini"
    shared = build_spec(inputs(host=with_host(init=True, pid_mode="host"), defaults=defaults))
    assert shared["process"]["args"] == ["sleep", "1000"]


def test_environment_is_dockerds() -> None:
    """TERM for a terminal; what config sets replaces in place; a bare name removes."""
    config = ContainerConfig(hostname="h", tty=True, env=["B=2", "PATH=/x", "HOSTNAME"])
    spec = build_spec(inputs(config=config, link_env=("L=1",)))
    assert spec["process"]["env"] == ["PATH=/x", "TERM=xterm", "L=1", "B=2"]
    assert spec["process"]["terminal"] is True


def test_console_size_is_height_and_width_of_a_terminal() -> None:
    """HostConfig has rows first; without a terminal there is none."""
    host = with_host(console_size=(40, 120))
    tty = build_spec(inputs(host=host, config=ContainerConfig(tty=True)))
    plain = build_spec(inputs(host=host))
    assert tty["process"]["consoleSize"] == {"height": 40, "width": 120}
    assert "consoleSize" not in plain["process"]


def test_limits_above_our_own_are_lowered_without_sys_resource() -> None:
    """A hard limit that the kernel would refuse is cut to ours; with the capability it is kept."""
    host = with_host(ulimits=[Ulimit(name="nofile", soft=5000, hard=9000)])
    weak = dataclasses.replace(
        V1,
        capabilities=tuple(c for c in CAPABILITY_NAMES if c != "CAP_SYS_RESOURCE"),
        rlimits={"NOFILE": RlimitPair(soft=100, hard=1000)},
    )
    strong = dataclasses.replace(weak, capabilities=CAPABILITY_NAMES)
    lowered = build_spec(inputs(host=host, facts=weak))["process"]["rlimits"]
    kept = build_spec(inputs(host=host, facts=strong))["process"]["rlimits"]
    assert lowered == [{"type": "RLIMIT_NOFILE", "soft": 1000, "hard": 1000}]
    assert kept == [{"type": "RLIMIT_NOFILE", "soft": 5000, "hard": 9000}]


@pytest.mark.parametrize(
    ("wanted", "own", "expected"), [(-500, 0, 0), (0, 300, 300), (400, 0, 400)]
)
def test_oom_score_is_not_lowered_without_sys_resource(
    wanted: int, own: int, expected: int
) -> None:
    """The kernel refuses a score below our own, and the container would not start."""
    facts = dataclasses.replace(V1, capabilities=("CAP_KILL",), oom_score_adj=own)
    spec = build_spec(inputs(host=with_host(oom_score_adj=wanted), facts=facts))
    assert spec["process"]["oomScoreAdj"] == expected


@pytest.mark.parametrize(
    ("driver", "parent", "expected"),
    [
        ("cgroupfs", "", f"/docker/{ID}"),
        ("cgroupfs", "/jobs/", f"/jobs/{ID}"),
        ("cgroupfs", "jobs", f"jobs/{ID}"),
        ("systemd", "", f"system.slice:docker:{ID}"),
        ("systemd", "jobs.slice", f"jobs.slice:docker:{ID}"),
    ],
)
def test_cgroup_paths_by_driver(driver: Any, parent: str, expected: str) -> None:
    """cgroupfs has a path; systemd slice, prefix and name."""
    defaults = SpecDefaults(cgroup_driver=driver)
    spec = build_spec(inputs(host=with_host(cgroup_parent=parent), defaults=defaults))
    assert spec["linux"]["cgroupsPath"] == expected


def test_devices_are_made_and_allowed() -> None:
    """A --device shows up as a node and as a rule after the defaults; the user's come last."""
    host = with_host(
        devices=[DeviceMapping(path_on_host="/dev/fuse", path_in_container="/dev/fuse")],
        device_cgroup_rules=["c 13:* r"],
    )
    node = DeviceNode(path="/dev/fuse", type="c", major=10, minor=229, access="rw")
    linux = build_spec(inputs(host=host, devices=HostDevices(mapped=(node,))))["linux"]
    assert linux["devices"][0]["path"] == "/dev/fuse"
    assert linux["resources"]["devices"][-2:] == [
        {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"},
        {"allow": True, "type": "c", "major": 13, "minor": -1, "access": "r"},
    ]


def test_masked_and_read_only_paths_of_the_request_replace_ours() -> None:
    """An empty list means none; absent means Docker's, with the host's thermal counters."""
    own = build_spec(inputs(host=with_host(masked_paths=[], readonly_paths=["/proc/x"])))
    assert own["linux"]["maskedPaths"] == []
    assert own["linux"]["readonlyPaths"] == ["/proc/x"]
    facts = dataclasses.replace(V1, thermal_throttle_paths=("/sys/t",))
    default = build_spec(inputs(facts=facts))["linux"]["maskedPaths"]
    assert default == [*MASKED_PATHS, "/sys/t"]


def test_cpu_and_pids_limits() -> None:
    """Nano CPUs are a quota of the 100 ms period; a pids limit of 0 is none."""
    host = with_host(nano_cpus=1_500_000_000, cpu_shares=512, pids_limit=0, memory=10**8)
    resources = build_spec(inputs(host=host))["linux"]["resources"]
    assert resources["cpu"] == {"shares": 512, "period": 100_000, "quota": 150_000}
    assert "pids" not in resources


def test_apparmor_only_where_the_kernel_has_it() -> None:
    """docker-default by default, unconfined when privileged, the user's choice over both."""
    armored = dataclasses.replace(V1, apparmor=True)
    assert "apparmorProfile" not in build_spec(inputs())["process"]
    for host, expected in (
        (with_host(), "docker-default"),
        (with_host(privileged=True), "unconfined"),
        (with_host(security_opt=["apparmor=mine"]), "mine"),
    ):
        assert (
            build_spec(inputs(host=host, facts=armored))["process"]["apparmorProfile"] == expected
        )


def test_exec_inherits_and_overrides() -> None:
    """Environment and directory come from the container; privileged adds capabilities only."""
    given = inputs(
        host=with_host(cap_drop=["ALL"], security_opt=["no-new-privileges"]),
        config=ContainerConfig(hostname="h", env=["A=1", "B=1"], working_dir="/w"),
    )
    common: dict[str, Any] = {
        "args": ["sh"],
        "config": given.config,
        "host_config": given.host_config,
        "facts": given.facts,
        "defaults": given.defaults,
        "user": ResolvedUser(),
    }
    plain = build_exec_process(**common, env=["B=2"], tty=True, rows_columns=(24, 80))
    privileged = build_exec_process(**common, cwd="/tmp", privileged=True)
    assert plain["env"][-2:] == ["A=1", "B=2"]
    assert "TERM=xterm" in plain["env"]
    assert plain["cwd"] == "/w"
    assert plain["noNewPrivileges"] is True
    assert plain["capabilities"]["bounding"] == []
    assert plain["consoleSize"] == {"height": 24, "width": 80}
    assert privileged["cwd"] == "/tmp"
    assert privileged["capabilities"]["bounding"] == list(CAPABILITY_NAMES)


def test_read_only_binds_are_so_all_the_way_down_where_that_works() -> None:
    """rro with kernel and runtime, else ro; forced without support is refused."""
    point = MountPoint(type="bind", source="/s", destination="/s", rw=False)

    def options(facts: HostFacts, **changes: Any) -> list[str]:
        mount = dataclasses.replace(point, **changes)
        return list(_mounts(build_spec(inputs(facts=facts, mounts=(mount,))))["/s"]["options"])

    old = dataclasses.replace(V1, kernel_version="5.4.0")
    assert options(V1) == ["rbind", "rro"]
    assert options(old) == ["rbind", "ro"]
    assert options(V1, read_only_recursive=False) == ["rbind", "ro"]
    assert options(V1, recursive=False) == ["bind", "ro"]
    with pytest.raises(InvalidParameter, match=r"kernel 5\.12"):
        options(old, read_only_recursive=True)


def test_annotations_reach_the_spec() -> None:
    """As they are; without any the key is absent."""
    spec = build_spec(inputs(host=with_host(annotations={"a": "b"})))
    assert spec["annotations"] == {"a": "b"}
    assert "annotations" not in build_spec(inputs())


def test_shared_binds_make_the_root_shared() -> None:
    """Mounts made in a shared bind would not come through a private root."""
    point = MountPoint(type="bind", source="/s", destination="/s", propagation="rshared")
    assert build_spec(inputs(mounts=(point,)))["linux"]["rootfsPropagation"] == "shared"
    assert "rootfsPropagation" not in build_spec(inputs())["linux"]


def test_a_kernel_without_cgroup_namespaces_gets_none() -> None:
    """Asked for or not, the spec must not name a namespace that cannot be made."""
    facts = HostFacts(cgroup=CgroupFacts(version="2", namespaces=False))
    spec = build_spec(inputs(host=with_host(cgroupns_mode="private"), facts=facts))
    assert "cgroup" not in _namespaces(spec)
