"""What HostConfig asks for, read inside containers: cgroup files, /proc, mount options, devices.

One container shows many of them; the daemon has flags of its own.
"""

from __future__ import annotations

import errno
import json
import platform
import signal
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, running_daemon

pytestmark = [pytest.mark.engine, pytest.mark.clients]

NONE = ("--network", "none")


@dataclass(frozen=True)
class Host:
    """A daemon with runtimes and devices of its own, and the folder of its CDI files."""

    daemon: Daemon
    cdi: Path

    def run(self, *options: str, code: int = 0) -> list[str]:
        """The lines that a container writes; with `code` 125, those of the CLI's error."""
        ran = self.daemon.docker("run", "--rm", *options, code=code)
        return (ran.text if code == 0 else ran.error_text).splitlines()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """One for the module."""
    folder = tmp_path_factory.mktemp("cdi")
    log = folder / "runtime.log"
    script = folder / "runtime"
    script.write_text(f'#!/bin/sh\necho "$0 $*" >> {log}\nexec runc "$@"\n')
    script.chmod(0o755)
    config = folder / "config"
    config.write_text(
        json.dumps(
            {
                "runtimes": {
                    "with-args": {"path": str(script), "runtimeArgs": ["--debug"]},
                    "by-type": {
                        "runtimeType": "io.containerd.runc.v2",
                        "options": {"BinaryName": str(script)},
                    },
                }
            }
        )
    )
    flags = (
        *("--cdi-spec-dir", str(folder), "--config-file", str(config)),
        *("--add-runtime", f"plain={script}", "--default-ulimit", "core=0:0"),
    )
    with running_daemon(*flags) as daemon:
        yield Host(daemon, folder)
        assert "Traceback" not in daemon.log_text()


def write_devices(folder: Path, name: str = "vendor.json", **edits: Any) -> None:
    """A CDI file with one device, vendor.com/class=dev0."""
    content = {
        "cdiVersion": "0.7.0",
        "kind": "vendor.com/class",
        "devices": [{"name": "dev0", "containerEdits": edits}],
        "containerEdits": {"env": ["ALL_OF_VENDOR=1"]},
    }
    (folder / name).write_text(json.dumps(content))


def test_a_cdi_device_brings_what_its_file_says(host: Host, tmp_path: Path) -> None:
    """Variables, a device that can be opened, a mount, a group, and a hook on the host."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_text("from the host\n")
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ncat > {tmp_path}/state\n")
    hook.chmod(0o755)
    write_devices(
        host.cdi,
        env=["DEV0=yes"],
        deviceNodes=[{"path": "/dev/vendor0", "hostPath": "/dev/zero", "permissions": "rw"}],
        mounts=[
            {
                "hostPath": str(tmp_path / "data"),
                "containerPath": "/vendor/data",
                "options": ["ro", "rbind"],
            }
        ],
        additionalGids=[4321],
        hooks=[{"hookName": "createRuntime", "path": str(hook), "args": ["hook"]}],
    )
    script = (
        "echo $ALL_OF_VENDOR $DEV0; head -c 4 /dev/vendor0 | od -An -tx1; cat /vendor/data/file; "
        "touch /vendor/data/x 2>&1; id -G"
    )
    lines = host.run(
        *NONE, "-u", "daemon", "--device", "vendor.com/class=dev0", "busybox", "sh", "-c", script
    )
    assert lines[0] == "1 yes"
    assert lines[1].split() == ["00"] * 4
    assert lines[2] == "from the host"
    assert lines[3] == "touch: /vendor/data/x: Read-only file system"
    assert "4321" in lines[4].split()
    assert json.loads((tmp_path / "state").read_text())["ociVersion"]
    info = host.daemon.http("GET", "/info").json()
    assert info["CDISpecDirs"] == [str(host.cdi)]
    assert info["DiscoveredDevices"] == [{"Source": "cdi", "ID": "vendor.com/class=dev0"}]
    (host.cdi / "vendor.json").unlink()


def test_a_cdi_device_is_looked_for_at_the_start(host: Host) -> None:
    """The container may be made before its driver has written its file; errors are dockerd's."""
    ran = host.daemon.docker(
        "create", *NONE, "--name", "early", "--device", "vendor.com/class=dev0", "busybox", "env"
    )
    assert len(ran.text) == 64
    answer = host.daemon.http("POST", "/containers/early/start")
    assert (answer.status, answer.message) == (
        500,
        "CDI device injection failed: unresolvable CDI devices vendor.com/class=dev0",
    )
    write_devices(host.cdi, env=["LATE=1"])
    assert "LATE=1" in host.daemon.docker("start", "-a", "early").text.splitlines()
    (host.cdi / "vendor.json").unlink()
    (host.cdi / "broken.yaml").write_text("kind: [")
    (warning,) = (
        w for w in host.daemon.http("GET", "/info").json()["Warnings"] if w.startswith("CDI")
    )
    assert "broken.yaml: failed to load CDI Spec failed to parse" in warning
    (host.cdi / "broken.yaml").unlink()


def test_gpus_come_by_their_vendors_files_and_are_refused_without(host: Host) -> None:
    """In dockerd's words, and when dockerd does: the container is there and has not run."""
    host.daemon.docker("create", "--name", "gpu", *NONE, "--gpus", "all", "busybox", "env")
    refused = host.daemon.docker("start", "-a", "gpu", code=1)
    assert refused.error_text.endswith(
        'could not select device driver "" with capabilities: [[gpu]]'
    )
    write_devices(host.cdi, "nvidia.json", env=["GPU=here"])
    path = host.cdi / "nvidia.json"
    text = path.read_text().replace("vendor.com/class", "nvidia.com/gpu").replace("dev0", "all")
    path.write_text(text)
    assert "GPU=here" in host.daemon.docker("start", "-a", "gpu").text.splitlines()
    path.unlink()
    host.daemon.docker("rm", "gpu")


IS_V1 = Path("/sys/fs/cgroup/memory").is_dir()
LIMITS = (
    # What `docker info` must have, the options, the file on cgroup v1, on v2, what it says there.
    ("MemoryLimit", ("-m", "64m"), "memory/memory.limit_in_bytes", "memory.max", "67108864"),
    (
        "MemoryLimit",
        ("--memory-reservation", "32m"),
        "memory/memory.soft_limit_in_bytes",
        "memory.low",
        "33554432",
    ),
    ("CPUShares", ("--cpu-shares", "512"), "cpu/cpu.shares", "cpu.weight", "512|20"),
    ("CpuCfsQuota", ("--cpus", "0.5"), "cpu/cpu.cfs_quota_us", "cpu.max", "50000|50000 100000"),
    ("CPUSet", ("--cpuset-cpus", "0"), "cpuset/cpuset.cpus", "cpuset.cpus", "0"),
    ("CPUSet", ("--cpuset-mems", "0"), "cpuset/cpuset.mems", "cpuset.mems", "0"),
    ("PidsLimit", ("--pids-limit", "50"), "pids/pids.max", "pids.max", "50"),
)


def test_limits_stand_in_the_cgroup(host: Host) -> None:
    """All of them in one container; below the parent that was asked for."""
    info = host.daemon.http("GET", "/info").json()
    limits = [limit for limit in LIMITS if info[limit[0]]]
    files = [v1 if IS_V1 else v2 for _, _, v1, v2, _ in limits]
    options = [word for _, words, *_ in limits for word in words]
    by_systemd = info["CgroupDriver"] == "systemd"
    own_name = f"hostconfig{host.daemon.bridge.name}"  # other daemons run these tests, too
    parent = f"{own_name}.slice" if by_systemd else f"/{own_name}"
    # Version 2 shows the whole hierarchy there, version 1 the container's own folder.
    own = "/sys/fs/cgroup" if IS_V1 else "/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)"
    reads = "; ".join(f"cat {own}/{file}" for file in files)
    lines = host.run(
        *NONE, *options, "--cgroup-parent", parent, "--cgroupns", "host", "busybox", "sh", "-c",
        f"{reads}; echo; cat /proc/self/cgroup",
    )  # fmt: skip
    end = lines.index("")
    for line, (*_, expected) in zip(lines[:end], limits, strict=True):
        assert line in expected.split("|")
    assert any(f"{parent}/" in line for line in lines[end:])
    for folder in Path("/sys/fs/cgroup").glob(own_name if not IS_V1 else f"*/{own_name}"):
        folder.rmdir()  # the runtime leaves the parent, as under dockerd


def test_a_process_has_its_limits_groups_and_capabilities(host: Host) -> None:
    """ulimits with the daemon's, OOM score, groups by name, capabilities, no new privileges."""
    lines = host.run(
        *NONE, "--ulimit", "nofile=100:200", "--oom-score-adj", "500", "--group-add", "floppy2",
        "--group-add", "77", "--cap-drop", "ALL", "--cap-add", "net_admin", "--security-opt",
        "no-new-privileges", "busybox", "true", code=125,
    )  # fmt: skip
    assert "Unable to find group floppy2: no matching entries in group file" in lines[0]
    script = (
        "ulimit -Sn; ulimit -Hn; ulimit -c; cat /proc/self/oom_score_adj; id -G; "
        "grep -E '^(CapBnd|CapEff|NoNewPrivs|Seccomp):' /proc/self/status"
    )
    lines = host.run(
        *NONE, "--ulimit", "nofile=100:200", "--oom-score-adj", "500", "--group-add", "daemon",
        "--group-add", "77", "--cap-drop", "ALL", "--cap-add", "net_admin", "--security-opt",
        "no-new-privileges", "busybox", "sh", "-c", script,
    )  # fmt: skip
    assert lines[:4] == ["100", "200", "0", "500"]
    assert {"0", "1", "77"} <= set(lines[4].split())
    status = dict(line.split(":\t") for line in lines[5:])
    net_admin = f"{1 << 12:016x}"
    assert status == {
        "CapBnd": net_admin, "CapEff": net_admin, "NoNewPrivs": "1", "Seccomp": "2",
    }  # fmt: skip


def test_mounts_names_and_sysctls_are_as_told(host: Host) -> None:
    """tmpfs with its flags, shm, paths masked and read-only, domain and hosts, an init."""
    gateway = host.daemon.http("GET", "/networks/bridge").json()["IPAM"]["Config"][0]["Gateway"]
    body = {
        "Image": "busybox",
        "Hostname": "web",
        "Domainname": "example.com",
        "WorkingDir": "/a/../work/",
        "Cmd": [
            "sh",
            "-c",
            "pwd; cat /proc/sys/kernel/domainname /proc/sys/net/ipv4/ip_local_port_range; "
            "grep -c . /etc/passwd; touch /etc/x 2>&1; cat /proc/1/comm; "
            "grep dockerhost /etc/hosts; grep -E ' /(t|dev/shm) ' /proc/mounts",
        ],
        "HostConfig": {
            "NetworkMode": "none",
            "Tmpfs": {"/t": "exec,noatime,size=1m,mode=700,uid=5"},
            "ShmSize": 1 << 20,
            "MaskedPaths": ["/etc/passwd"],
            "ReadonlyPaths": ["/etc"],
            "Sysctls": {"net.ipv4.ip_local_port_range": "2000\t3000"},
            "ExtraHosts": ["dockerhost:host-gateway"],
            "Init": True,
            "Annotations": {"com.example.a": "b"},
        },
    }
    answer = host.daemon.http("POST", "/containers/create?name=told", body)
    assert answer.status == 201, answer
    assert answer.json()["Warnings"] == []
    lines = host.daemon.docker("start", "-a", "told").text.splitlines()
    assert lines[:3] == ["/work", "example.com", "2000\t3000"]
    assert lines[3] == "0"
    assert lines[4] == "touch: /etc/x: Read-only file system"
    assert lines[5] in ("tini-static", "tini", "docker-init")
    assert lines[6].split() == [gateway, "dockerhost"]
    mounts = {line.split()[1]: line.split()[3].split(",") for line in lines[7:]}
    assert {"rw", "nosuid", "nodev", "noatime", "size=1024k", "mode=700", "uid=5"} <= set(
        mounts["/t"]
    )
    assert "noexec" not in mounts["/t"]
    assert "size=1024k" in mounts["/dev/shm"]
    inspected = host.daemon.http("GET", "/containers/told/json").json()
    assert inspected["Config"]["WorkingDir"] == "/work"
    assert inspected["HostConfig"]["Annotations"] == {"com.example.a": "b"}
    host.daemon.docker("rm", "told")


def test_a_terminal_has_the_size_that_was_asked_for(host: Host) -> None:
    """From the first moment on, since API 1.42."""
    body = {
        "Image": "busybox",
        "Tty": True,
        "Cmd": ["stty", "size"],
        "HostConfig": {"NetworkMode": "none", "ConsoleSize": [7, 55]},
    }
    assert host.daemon.http("POST", "/containers/create?name=sized", body).status == 201
    assert host.daemon.docker("start", "-a", "sized").text == "7 55"
    host.daemon.docker("rm", "sized")


@pytest.mark.parametrize("name", ["plain", "with-args", "by-type"])
def test_runtimes_by_name(host: Host, name: str) -> None:
    """A binary, a binary with arguments, and runc's shim with options."""
    log = host.cdi / "runtime.log"
    log.write_text("")
    assert host.run(*NONE, "--runtime", name, "busybox", "echo", "ran") == ["ran"]
    calls = log.read_text().splitlines()
    assert any(" create " in call for call in calls)
    if name == "with-args":
        assert all(call.split()[1] == "--debug" for call in calls)
    ran = host.run(*NONE, "--runtime", "io.containerd.none.v2", "busybox", "true", code=125)
    assert "containerd-shim-none-v2" in ran[0]


def test_limits_of_devices_change_while_a_container_runs(host: Host) -> None:
    """Since API 1.55; an empty list takes them away."""
    disk = next(
        (d for d in sorted(Path("/sys/block").iterdir()) if Path("/dev", d.name).exists()), None
    )
    file = "blkio/blkio.throttle.read_bps_device" if IS_V1 else "io.max"
    if disk is None or (IS_V1 and not Path("/sys/fs/cgroup", file).exists()):
        pytest.skip("needs a disk, and a kernel that can limit it")
    number = (disk / "dev").read_text().strip()
    device = {"Path": f"/dev/{disk.name}", "Rate": 1 << 20}
    create = {
        "Image": "busybox", "Cmd": ["sleep", "1000"],
        "HostConfig": {"NetworkMode": "none", "BlkioDeviceReadBps": [device]},
    }  # fmt: skip
    assert host.daemon.http("POST", "/containers/create?name=reader", create).status == 201
    host.daemon.docker("start", "reader")

    def limit() -> str:
        return host.daemon.docker("exec", "reader", "cat", f"/sys/fs/cgroup/{file}").text

    def update(version: str, devices: list[Any]) -> None:
        path = f"/v{version}/containers/reader/update"
        assert host.daemon.http("POST", path, {"BlkioDeviceReadBps": devices}).status == 200

    assert str(1 << 20) in limit()
    assert limit().startswith(number)
    update("1.54", [])
    assert str(1 << 20) in limit()
    update("1.55", [{**device, "Rate": 2 << 20}])
    assert str(2 << 20) in limit()
    update("1.55", [])
    assert str(2 << 20) not in limit()
    host.daemon.docker("rm", "-f", "reader")


@pytest.mark.parametrize("profile", ["{", "[]", '{"defaultAction": "FOO"}'])
def test_a_broken_seccomp_profile_makes_no_container(host: Host, profile: str) -> None:
    """400, before anything is made."""
    body = {"Image": "busybox", "HostConfig": {"SecurityOpt": [f"seccomp={profile}"]}}
    before = host.daemon.container_ids()
    answer = host.daemon.http("POST", "/containers/create", body)
    assert answer.status == 400
    assert answer.message.startswith("Decoding seccomp profile failed: ")
    assert host.daemon.container_ids() == before


def test_a_seccomp_profile_of_ones_own_filters(host: Host, tmp_path: Path) -> None:
    """With the error number that it says."""
    profile = tmp_path / "profile.json"
    calls = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [calls]}))
    lines = host.run(
        *NONE, "--security-opt", f"seccomp={profile}", "busybox", "sh", "-c", "mkdir /x 2>&1; true"
    )
    assert lines == ["mkdir: can't create directory '/x': No space left on device"]


def _x32_getpid() -> bytes:
    """A program of 64 bits that makes one x32 call; it exits with that call's error number."""
    code = (
        b"\xb8\x27\x00\x00\x40\x0f\x05"  # eax = X32 | getpid; syscall
        b"\x31\xff\x48\x85\xc0\x79\x04"  # edi = 0; if rax >= 0, past the next
        b"\xf7\xd8\x89\xc7"  # edi = -eax
        b"\xb8\x3c\x00\x00\x00\x0f\x05"  # exit(edi)
    )
    base, offset = 0x400000, 64 + 56
    kind = struct.pack("<16sHHI", b"\x7fELF\x02\x01\x01", 2, 62, 1)
    rest = struct.pack("<QQQIHHHHHH", base + offset, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    size = offset + len(code)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000)
    return kind + rest + segment + code


@pytest.mark.skipif(platform.machine() != "x86_64", reason="x32 is of x86_64")
def test_x32_calls_are_filtered_where_the_kernel_has_them(host: Host, tmp_path: Path) -> None:
    """Elsewhere they end the process; who goes unfiltered is told that there are none."""
    program = tmp_path / "x32"
    program.write_bytes(_x32_getpid())
    program.chmod(0o755)

    def code_of(*options: str) -> int:
        name = "x32"
        mount = ("-v", f"{program}:/x32:ro")
        host.daemon.docker("run", "-d", "--name", name, *NONE, *mount, *options, "busybox", "/x32")
        code = int(host.daemon.docker("wait", name).text)
        host.daemon.docker("rm", name)
        return code

    unfiltered = code_of("--security-opt", "seccomp=unconfined")
    assert unfiltered in {0, errno.ENOSYS}
    assert code_of() == (0 if unfiltered == 0 else 128 + signal.SIGSYS)


def test_clients_of_old_get_what_they_expect(host: Host) -> None:
    """Shareable IPC, kernel memory, the graph driver: 1.24 to 1.41; not in the newest."""
    body = {
        "Image": "busybox",
        "Cmd": ["true"],
        "HostConfig": {"NetworkMode": "none", "KernelMemory": 1 << 30, "ConsoleSize": [1, 2]},
    }
    created = host.daemon.http("POST", "/v1.24/containers/create?name=old", body)
    assert created.status == 201, created
    old = host.daemon.http("GET", "/v1.24/containers/old/json").json()
    new = host.daemon.http("GET", "/v1.56/containers/old/json").json()
    assert old["HostConfig"]["IpcMode"] == "shareable"
    assert old["HostConfig"]["ConsoleSize"] == [0, 0]
    assert created.json()["Warnings"] != []
    assert "KernelMemory" not in new["HostConfig"]
    assert set(old) - set(new) == {"GraphDriver"}
    assert set(new) - set(old) == {"Storage", "ImageManifestDescriptor"}
    host.daemon.docker("rm", "old")


@pytest.mark.parametrize("version", ["1.43", "1.44"])
def test_a_mac_address_of_the_containers_is_its_networks(host: Host, version: str) -> None:
    """What clients below 1.52 say once for the whole container."""
    address = "02:42:ac:11:00:99"
    body = {
        "Image": "busybox",
        "Cmd": ["cat", "/sys/class/net/eth0/address"],
        "MacAddress": address,
    }
    created = host.daemon.http("POST", f"/v{version}/containers/create?name=addressed", body)
    assert created.status == 201, created
    assert len(created.json()["Warnings"]) == (version == "1.44")
    assert host.daemon.docker("start", "-a", "addressed").text == address
    config = host.daemon.http("GET", f"/v{version}/containers/addressed/json").json()["Config"]
    assert config["MacAddress"] == address
    host.daemon.docker("rm", "addressed")


def test_read_only_binds_of_old_clients_end_at_the_next_mount(host: Host, tmp_path: Path) -> None:
    """Below API 1.44 what is mounted below stays writable; since then it does not."""
    (tmp_path / "below").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path / "below"], check=True)
    try:
        for version, expected in (("1.43", "written"), ("1.44", "refused")):
            body = {
                "Image": "busybox",
                "Cmd": ["sh", "-c", "touch /b/below/x 2>/dev/null && echo written || echo refused"],
                "HostConfig": {"NetworkMode": "none", "Binds": [f"{tmp_path}:/b:ro"]},
            }
            path = f"/v{version}/containers/create?name=reader"
            assert host.daemon.http("POST", path, body).status == 201
            assert host.daemon.docker("start", "-a", "reader").text == expected
            host.daemon.docker("rm", "reader")
    finally:
        subprocess.run(["umount", tmp_path / "below"], check=True)


def test_the_hosts_names_are_the_containers_unless_it_adds_some(host: Host) -> None:
    """In the host's own network: dockerd writes a file of its own then."""
    lines = host.run("--network", "host", "busybox", "cat", "/etc/hosts")
    assert lines == Path("/etc/hosts").read_text().strip().splitlines()
    lines = host.run("--network", "host", "--add-host", "x:1.2.3.4", "busybox", "cat", "/etc/hosts")
    assert "1.2.3.4\tx" in lines
