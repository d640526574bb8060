"""`docker create`: where each flag lands. What `docker run` shares with it is tested here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.clients.cli import NONE, inspected, refusal
from tests.support.daemon import Daemon

pytestmark = [pytest.mark.engine, pytest.mark.clients]

MIB = 1 << 20
SECOND = 10**9
NULL = "/dev/null"


def value_at(document: Mapping[str, Any], path: str) -> Any:
    """The value at a path of names with dots between them; Go leaves out some that are null."""
    found: Any = document
    for name in path.split("."):
        found = found.get(name)
    return found


def throttle(rate: int) -> list[dict[str, Any]]:
    return [{"Path": NULL, "Rate": rate}]


# Each row was read from dockerd 20.10's inspect after the same command, save for --annotation and
# --health-start-interval, which it does not know.
ROWS: list[tuple[str, dict[str, Any]]] = [
    ("", {
        "Config.AttachStdout": True, "Config.AttachStdin": False, "Config.Volumes": None,
        "Config.Entrypoint": None, "Config.ExposedPorts": None, "HostConfig.PidsLimit": None,
        "HostConfig.LogConfig": {"Type": "json-file", "Config": {}}, "HostConfig.Runtime": "runc",
        "HostConfig.IpcMode": "private", "HostConfig.ShmSize": 64 * MIB, "State.Status": "created",
        "State.StartedAt": "0001-01-01T00:00:00Z",
        "HostConfig.RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
    }),
    ("--add-host h:1.2.3.4 --add-host g=::1", {"HostConfig.ExtraHosts": ["h:1.2.3.4", "g:::1"]}),
    ("--annotation a=b", {"HostConfig.Annotations": {"a": "b"}}),
    ("-a stdout --attach stderr", {"Config.AttachStdout": True, "Config.AttachStderr": True}),
    ("-i -a stdin", {
        "Config.AttachStdin": True, "Config.AttachStdout": False, "Config.OpenStdin": True,
        "Config.StdinOnce": True,
    }),
    ("--interactive --tty", {
        "Config.Tty": True, "Config.OpenStdin": True, "Config.StdinOnce": True,
    }),
    ("--cap-add NET_ADMIN --cap-add cap_sys_time --cap-drop mknod", {
        "HostConfig.CapAdd": ["CAP_NET_ADMIN", "CAP_SYS_TIME"], "HostConfig.CapDrop": ["CAP_MKNOD"],
    }),
    ("--cgroup-parent /mine --cgroupns private", {
        "HostConfig.CgroupParent": "/mine", "HostConfig.CgroupnsMode": "private",
    }),
    ("--cpu-period 50000 --cpu-quota 20000 --cpu-shares 100", {
        "HostConfig.CpuPeriod": 50000, "HostConfig.CpuQuota": 20000, "HostConfig.CpuShares": 100,
    }),
    ("--cpus 0.5 --cpuset-cpus 0 --cpuset-mems 0", {
        "HostConfig.NanoCpus": SECOND // 2, "HostConfig.CpusetCpus": "0",
        "HostConfig.CpusetMems": "0",
    }),
    (f"--device {NULL}:/dev/x:rw --device-cgroup-rule=c_1:3_rwm", {
        "HostConfig.Devices": [
            {"PathOnHost": NULL, "PathInContainer": "/dev/x", "CgroupPermissions": "rw"}
        ],
        "HostConfig.DeviceCgroupRules": ["c 1:3 rwm"],
    }),
    (f"--device-read-bps {NULL}:1mb --device-write-bps {NULL}:2mb "
     f"--device-read-iops {NULL}:3 --device-write-iops {NULL}:4", {
        "HostConfig.BlkioDeviceReadBps": throttle(MIB),
        "HostConfig.BlkioDeviceWriteBps": throttle(2 * MIB),
        "HostConfig.BlkioDeviceReadIOps": throttle(3),
        "HostConfig.BlkioDeviceWriteIOps": throttle(4),
    }),
    ("--dns 1.1.1.1 --dns-option ndots:1 --dns-search x.y", {
        "HostConfig.Dns": ["1.1.1.1"], "HostConfig.DnsOptions": ["ndots:1"],
        "HostConfig.DnsSearch": ["x.y"],
    }),
    ("--domainname dom --hostname host", {"Config.Domainname": "dom", "Config.Hostname": "host"}),
    ("--entrypoint /bin/echo", {"Config.Entrypoint": ["/bin/echo"], "Path": "/bin/echo"}),
    ("--entrypoint=", {"Config.Entrypoint": None, "Path": "cmd", "Args": ["a b"]}),
    ("--env A=b -e C --env-file ENV", {
        "Config.Env": ["F=1", "G=x y", "A=b", "C",
                       "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
    }),
    ("--expose 80 --expose 90-91/udp", {
        "Config.ExposedPorts": {"80/tcp": {}, "90/udp": {}, "91/udp": {}},
    }),
    ("--group-add 5 --group-add mail", {"HostConfig.GroupAdd": ["5", "mail"]}),
    ("--health-cmd true --health-interval 5s --health-timeout 2s --health-retries 4 "
     "--health-start-period 3s --health-start-interval 1s", {
        "Config.Healthcheck": {
            "Test": ["CMD-SHELL", "true"], "Interval": 5 * SECOND, "Timeout": 2 * SECOND,
            "Retries": 4, "StartPeriod": 3 * SECOND, "StartInterval": SECOND,
        },
    }),
    ("--no-healthcheck", {"Config.Healthcheck": {"Test": ["NONE"]}}),
    ("--init --ipc none", {"HostConfig.Init": True, "HostConfig.IpcMode": "none"}),
    ("--isolation default", {"HostConfig.Isolation": "default"}),
    ("--label a=b -l c --label-file LABELS", {
        "Config.Labels": {"a": "b", "c": "", "la": "1"},
    }),
    ("--log-driver none", {"HostConfig.LogConfig": {"Type": "none", "Config": {}}}),
    ("--log-opt max-size=1m --log-opt max-file=2", {
        "HostConfig.LogConfig": {
            "Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"}
        },
    }),
    ("--memory 64m --memory-swap 128m --memory-reservation 32m --memory-swappiness 10", {
        "HostConfig.Memory": 64 * MIB, "HostConfig.MemorySwap": 128 * MIB,
        "HostConfig.MemoryReservation": 32 * MIB, "HostConfig.MemorySwappiness": 10,
    }),
    ("-m 64m", {"HostConfig.Memory": 64 * MIB, "HostConfig.MemorySwap": 128 * MIB}),
    ("-m 64m --memory-swap -1 --oom-kill-disable --oom-score-adj 100", {
        "HostConfig.MemorySwap": -1, "HostConfig.OomKillDisable": True,
        "HostConfig.OomScoreAdj": 100,
    }),
    ("--mount type=bind,src=/tmp,dst=/m,readonly --mount type=tmpfs,dst=/n,tmpfs-size=1m", {
        "HostConfig.Mounts": [
            {"Type": "bind", "Source": "/tmp", "Target": "/m", "ReadOnly": True},
            {"Type": "tmpfs", "Target": "/n", "TmpfsOptions": {"SizeBytes": MIB}},
        ],
    }),
    ("--pid host --uts host", {"HostConfig.PidMode": "host", "HostConfig.UTSMode": "host"}),
    ("--pids-limit 20", {"HostConfig.PidsLimit": 20}),
    ("--pids-limit -1", {"HostConfig.PidsLimit": None}),
    ("--platform linux/amd64 --pull never --quiet", {"Platform": "linux"}),
    ("--privileged", {
        "HostConfig.Privileged": True, "HostConfig.SecurityOpt": ["label=disable"],
        "HostConfig.MaskedPaths": None,
    }),
    ("--read-only --rm", {"HostConfig.ReadonlyRootfs": True, "HostConfig.AutoRemove": True}),
    ("--restart on-failure:3", {
        "HostConfig.RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
    }),
    ("--runtime runc --shm-size 32m", {
        "HostConfig.Runtime": "runc", "HostConfig.ShmSize": 32 * MIB,
    }),
    ("--security-opt no-new-privileges --security-opt systempaths=unconfined", {
        "HostConfig.SecurityOpt": ["no-new-privileges"], "HostConfig.MaskedPaths": [],
        "HostConfig.ReadonlyPaths": [],
    }),
    ("--stop-signal USR1 --stop-timeout 5", {
        "Config.StopSignal": "USR1", "Config.StopTimeout": 5,
    }),
    ("--sysctl net.ipv4.ip_forward=1", {"HostConfig.Sysctls": {"net.ipv4.ip_forward": "1"}}),
    ("--tmpfs /t:size=1m --tmpfs /u", {"HostConfig.Tmpfs": {"/t": "size=1m", "/u": ""}}),
    ("--ulimit nofile=100:200 --ulimit nproc=50", {
        "HostConfig.Ulimits": [
            {"Name": "nofile", "Hard": 200, "Soft": 100}, {"Name": "nproc", "Hard": 50, "Soft": 50},
        ],
    }),
    ("--user 5:6 --userns host --workdir /work", {
        "Config.User": "5:6", "HostConfig.UsernsMode": "host", "Config.WorkingDir": "/work",
    }),
    ("--volume /tmp:/m:ro -v /var:/v", {"HostConfig.Binds": ["/tmp:/m:ro", "/var:/v"]}),
]  # fmt: skip


@pytest.mark.parametrize(("flags", "values"), ROWS, ids=lambda v: v if isinstance(v, str) else "")
def test_a_flag_lands_where_dockerd_puts_it(
    daemon: Daemon, tmp_path: Path, flags: str, values: dict[str, Any]
) -> None:
    """As dockerd's inspect shows it; what is only asked for shows in the create's answer alone."""
    (tmp_path / "env").write_text("F=1\n# a comment\nUNSET\nG=x y\n")
    (tmp_path / "labels").write_text("la=1\nlb\n")
    words = flags.replace("ENV", str(tmp_path / "env")).replace("LABELS", str(tmp_path / "labels"))
    options = [w.replace("_", " ") if "cgroup-rule" in w else w for w in words.split()]
    made = daemon.docker("create", "--name", "box", *NONE, *options, "busybox", "cmd", "a b")
    assert re.fullmatch("[0-9a-f]{64}", made.text)
    assert made.error_text == ""
    document = inspected(daemon)
    found = {path: value_at(document, path) for path in values}
    assert ordered(found) == ordered(values)


def ordered(values: dict[str, Any]) -> dict[str, Any]:
    """With what the CLI sends in an order that is another one each time brought into one."""
    return {
        path: sorted(value) if path in ("Config.Env", "HostConfig.Binds") else value
        for path, value in values.items()
    }


BY_CLI, BY_ENGINE = 125, 1  # the exit statuses


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        ("--device-cgroup-rule bogus", BY_CLI, "invalid device cgroup format 'bogus'"),
        ("--dns bogus", BY_CLI, "IP address is not correctly formatted: bogus"),
        ("--mac-address bogus", BY_CLI, "bogus is not a valid mac address"),
        ("--memory-swappiness 200", BY_CLI, "Valid memory swappiness range is 0-100"),
        ("--pid bogus", BY_CLI, "--pid: invalid PID mode"),
        ("--rm --restart always", BY_CLI,
         "conflicting options: cannot specify both --restart and --rm"),
        ("--shm-size -1", BY_CLI, "invalid size: '-1'"),
        ("--sysctl kernel.bogus=1", BY_CLI, "sysctl 'kernel.bogus=1' is not allowed"),
        ("--userns bogus", BY_CLI, "--userns: invalid USER mode"),
        ("--uts bogus", BY_CLI, "--uts: invalid UTS mode"),
        ("--cpus 1000", BY_ENGINE, "Range of CPUs is from 0.01 to"),
        ("--cpuset-cpus 4000", BY_ENGINE, "Requested CPUs are not available - requested 4000"),
        ("--gpus driver=other", BY_ENGINE,
         'could not select device driver "other" with capabilities: [[gpu]]'),
        ("--log-opt bogus=1", BY_ENGINE, "unknown log opt 'bogus' for json-file log driver"),
        ("-m 1m", BY_ENGINE, "Minimum memory limit allowed is 6MB"),
        ("-m 64m --memory-swap 32m", BY_ENGINE,
         "Minimum memoryswap limit should be larger than memory limit, see usage"),
        ("--mount type=bind,src=/nosuch,dst=/m", BY_ENGINE,
         'invalid mount config for type "bind": bind source path does not exist: /nosuch'),
        ("--oom-score-adj 10000", BY_ENGINE,
         "Invalid value 10000, range for oom score adj is [-1000, 1000]"),
        ("--platform linux/s390x", BY_ENGINE, "image with reference busybox was found but does "
         "not provide the specified platform (linux/s390x)"),
        ("--platform a/b/c/d", BY_ENGINE, '"a/b/c/d": cannot parse platform specifier'),
        ("--platform bogus", BY_ENGINE, '"bogus": unknown operating system or architecture'),
        ("--restart bogus", BY_ENGINE, "invalid restart policy: unknown policy 'bogus'; use one "
         "of 'no', 'always', 'on-failure', or 'unless-stopped'"),
        ("--runtime bogus", BY_ENGINE, "unknown or invalid runtime name: bogus"),
        ("--security-opt bogus=x", BY_ENGINE, 'invalid --security-opt 2: "bogus=x"'),
        ("--stop-signal BOGUS", BY_ENGINE, "invalid signal: BOGUS"),
        ("--tmpfs relative", BY_ENGINE,
         "invalid mount path: 'relative' mount path must be absolute"),
        ("-w relative", BY_ENGINE,
         "the working directory 'relative' is invalid, it needs to be an absolute path"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(daemon: Daemon, flags: str, code: int, words: str) -> None:
    """In Docker's words, and nothing is made."""
    command = ("create", *NONE, *flags.split(), "--pull", "never", "busybox", "x")
    assert words in refusal(daemon, *command, code=code)
    assert daemon.container_ids() == []


def test_name_and_cidfile(daemon: Daemon, tmp_path: Path) -> None:
    """--name, or two words that nobody else has; --cidfile is never written over."""
    file = tmp_path / "cid"
    made = daemon.docker("create", "--name", "given", "--cidfile", str(file), *NONE, "busybox")
    assert file.read_text() == made.text
    assert inspected(daemon, "given")["Id"] == made.text
    unnamed = daemon.docker("create", *NONE, "busybox").text
    assert re.fullmatch(r"/[a-z]+_[a-z]+\d?", inspected(daemon, unnamed)["Name"])
    assert "container ID file found" in refusal(daemon, "create", "--cidfile", str(file), "busybox")


def test_addresses_are_kept(daemon: Daemon) -> None:
    """What is asked of the bridge. An address of one's choice is for networks of one's own."""
    daemon.docker(
        "create", "--name", "box", "--network", "bridge", "--mac-address", "92:d0:c6:0a:29:33",
        "busybox",
    )  # fmt: skip
    networks = inspected(daemon)["NetworkSettings"]["Networks"]
    assert networks["bridge"]["MacAddress"] == "92:d0:c6:0a:29:33"
