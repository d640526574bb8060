"""Built specs given to a real runc: what the container can see and do."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from services.containers.config import ContainerConfig, Ulimit
from services.containers.spec import (
    NamespacePaths,
    ResolvedUser,
    SpecInputs,
    adapt_host_config,
    build_exec_process,
    build_spec,
    parse_mounts,
    read_account_files_in,
    read_host_devices,
    resolve_user,
)
from services.system import HostFacts, read_host_facts
from tests.services.containers.spec.builders import inputs, with_host

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(shutil.which("runc") is None, reason="needs runc"),
    pytest.mark.skipif(not Path("/bin/busybox").exists(), reason="needs busybox-static"),
]
_LIMIT_S = 90
_PARENT = f"/wharfinger-spec-test-{os.getpid()}"
Run = Callable[..., str]


@pytest.fixture(scope="module")
def facts() -> HostFacts:
    """This host."""
    return read_host_facts()


@pytest.fixture(scope="module", autouse=True)
def cgroup_parent() -> Iterator[None]:
    """The runtime makes the parent cgroup but never removes it."""
    yield
    root = Path("/sys/fs/cgroup")
    for place in (root, *root.iterdir()):
        with suppress(OSError):
            (place / _PARENT.lstrip("/")).rmdir()


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    """A root file system with busybox and two users."""
    root = tmp_path / "bundle/rootfs"
    for folder in ("bin", "etc", "tmp", "proc", "sys", "dev", "root"):
        (root / folder).mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    for name in ("sh", "cat", "grep", "id", "mount", "unshare", "hostname", "ls", "env", "sleep",
                 "stty", "touch", "wc", "ps", "dd", "ulimit"):  # fmt: skip
        (root / "bin" / name).symlink_to("busybox")
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nweb:x:1000:1000::/home:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nweb:x:1000:\naudio:x:29:web\n")
    return root


@pytest.fixture
def runc(tmp_path: Path) -> Iterator[list[str]]:
    """The command with a state directory of this test's; what still runs is removed."""
    command = ["runc", "--root", str(tmp_path / "state")]
    yield command
    listed = subprocess.run([*command, "list", "-q"], capture_output=True, text=True, check=False)
    for name in listed.stdout.split():
        subprocess.run([*command, "delete", "-f", name], capture_output=True, check=False)


@pytest.fixture
def run(rootfs: Path, runc: list[str], facts: HostFacts) -> Run:
    """Run a shell script in a container with these settings; returns all that it wrote."""

    def run_script(script: str, **changes: Any) -> str:
        given = _inputs(script, facts, **changes)
        bundle = rootfs.parent
        (bundle / "config.json").write_text(json.dumps(build_spec(given)))
        done = subprocess.run(
            [*runc, "run", "-b", str(bundle), given.container_id],
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        return done.stdout + done.stderr

    return run_script


def _inputs(script: str, facts: HostFacts, **changes: Any) -> SpecInputs:
    host = changes.pop("host", with_host())
    given = inputs(host=host, facts=facts, args=("sh", "-c", script), **changes)
    return SpecInputs(
        **{
            **{name: getattr(given, name) for name in given.__slots__},
            "container_id": uuid.uuid4().hex,
            "host_config": _with_parent(given.host_config, _PARENT),
            "devices": read_host_devices(given.host_config),
            "mounts": parse_mounts(given.host_config),
        }
    )


def _with_parent(host: Any, parent: str) -> Any:
    return type(host)(**{**{f: getattr(host, f) for f in host.__struct_fields__},
                         "cgroup_parent": parent})  # fmt: skip


def _status(text: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, separator, value in pairs if separator}


def test_default_confinement(run: Run) -> None:
    """The fourteen capabilities, a filter in force, and calls outside it refused with EPERM."""
    out = run(
        "cat /proc/self/status; unshare -n true; echo x > /proc/sys/kernel/hostname; "
        "touch /sys/x; mount -t tmpfs x /tmp; cat /proc/keys | wc -c; ls /sys/firmware | wc -l"
    )
    status = _status(out)
    assert int(status["CapBnd"], 16) == 0xA80425FB
    assert int(status["CapEff"], 16) == 0xA80425FB
    assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
    assert status["Seccomp"] == "2"
    assert "unshare(0x40000000): Operation not permitted" in out
    assert "Read-only file system" in out
    assert "permission denied" in out.lower() or "operation not permitted" in out.lower()
    assert out.splitlines().count("0") == 2


def test_the_filter_alone_refuses(run: Run) -> None:
    """With SYS_ADMIN added the same call passes: it was not for want of a capability elsewhere."""
    out = run("unshare -n true && echo passed", host=with_host(cap_add=["SYS_ADMIN"]))
    assert "passed" in out
    refused = run(
        "unshare -n true && echo passed",
        host=with_host(
            cap_add=["SYS_ADMIN"],
            security_opt=[
                'seccomp={"defaultAction":"SCMP_ACT_ALLOW","syscalls":'
                '[{"names":["unshare"],"action":"SCMP_ACT_ERRNO"}]}'
            ],
        ),
    )
    assert "passed" not in refused


def test_privileged_runs_with_all_that_the_engine_holds(run: Run, facts: HostFacts) -> None:
    """Also where some capability was taken from the engine; no filter, the host's devices."""
    out = run("cat /proc/self/status; ls /dev", host=with_host(privileged=True))
    status = _status(out)
    assert status["Seccomp"] == "0"
    assert int(status["CapEff"], 16).bit_count() == len(facts.capabilities)
    assert "kmsg" in out.split()


def test_no_new_privileges(run: Run) -> None:
    """The flag is on the process."""
    out = run("cat /proc/self/status", host=with_host(security_opt=["no-new-privileges"]))
    assert _status(out)["NoNewPrivs"] == "1"


def test_users_groups_and_home(run: Run, rootfs: Path) -> None:
    """A user by name with its groups and more; no effective capabilities; HOME from its entry."""
    user = resolve_user("web", read_account_files_in(rootfs), ["44"])
    out = run("id; env; cat /proc/self/status", user=user)
    assert "uid=1000(web) gid=1000(web)" in out
    assert {"29(audio)", "44"} <= set(out.split("groups=", 1)[1].split()[0].split(","))
    assert "HOME=/home" in out.splitlines()
    assert int(_status(out)["CapEff"], 16) == 0
    assert int(_status(out)["CapBnd"], 16) == 0xA80425FB


def test_memory_and_pids_limits_are_in_the_cgroup(run: Run, facts: HostFacts) -> None:
    """The limit that was asked for is the one that the kernel has."""
    limit = 64 * 1024 * 1024
    host = with_host(memory=limit, pids_limit=77, cgroupns_mode="private")
    if facts.cgroup.version == "1":
        script = (
            "cat /sys/fs/cgroup/memory/memory.limit_in_bytes "
            "/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes /sys/fs/cgroup/pids/pids.max"
        )
        expected = [str(limit), str(2 * limit), "77"]
    else:
        script = "cd /sys/fs/cgroup; cat memory.max memory.swap.max pids.max"
        expected = [str(limit), str(limit), "77"]
    assert run(script, host=host).split() == expected


def test_sysctls_and_host_name(run: Run) -> None:
    """Low ports are open in a private network; the user's sysctls and names are set."""
    out = run(
        "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ip_forward; "
        "hostname; cat /proc/sys/kernel/domainname",
        host=with_host(sysctls={"net.ipv4.ip_forward": "1"}),
        config=ContainerConfig(hostname="box", domainname="example.org"),
    )
    assert out.split() == ["0", "1", "box", "example.org"]


def test_limits_that_cannot_be_raised_do_not_stop_the_start(run: Run, facts: HostFacts) -> None:
    """A hard limit above our own, and an OOM score below, are cut where CAP_SYS_RESOURCE lacks."""
    own = facts.rlimits["NOFILE"].hard
    host = with_host(
        ulimits=[Ulimit(name="nofile", soft=own + 1, hard=own + 1)], oom_score_adj=-100
    )
    out = run("ulimit -n; cat /proc/self/oom_score_adj", host=host).split()
    raised = facts.has_sys_resource
    assert out == [str(own + 1 if raised else own), "-100" if raised else str(facts.oom_score_adj)]


def test_mounts_and_read_only_root(run: Run, tmp_path: Path) -> None:
    """The root refuses writes; tmpfs, a bind and shm take them; a read-only bind does not."""
    source = tmp_path / "source"
    source.mkdir()
    host = with_host(
        readonly_rootfs=True,
        binds=[f"{source}:/data", f"{source}:/fixed:ro"],
        tmpfs={"/tmp": "size=1m"},
    )
    for name in ("data", "fixed"):
        (tmp_path / "bundle/rootfs" / name).mkdir()
    out = run(
        "for f in /x /tmp/x /data/x /dev/shm/x /fixed/y; do touch $f && echo ok $f; done; mount",
        host=host,
    )
    done = [line.split()[1] for line in out.splitlines() if line.startswith("ok ")]
    assert done == ["/tmp/x", "/data/x", "/dev/shm/x"]
    assert (source / "x").exists()
    assert "tmpfs on /tmp type tmpfs (rw,nosuid,nodev,noexec,relatime,size=1024k)" in out


def test_only_named_devices_can_be_opened(run: Run) -> None:
    """null is open to all; one made inside is refused by the cgroup, unless a rule opens it."""
    if not Path("/dev/fuse").exists():
        pytest.skip("needs a harmless device that is closed by default")
    script = "busybox mknod /dev/mine c 10 229; : < /dev/null && echo null; : < /dev/mine; echo $?"
    assert run(script).split()[0] == "null"
    assert run(script).split()[-1] != "0"
    opened = run(script, host=with_host(device_cgroup_rules=["c 10:229 rwm"]))
    assert opened.split() == ["null", "0"]


def test_a_ready_network_namespace_is_joined(run: Run, facts: HostFacts) -> None:
    """By path: its links are the container's; with host the machine's are."""
    mine = Path("/proc/self/ns/net")
    joined = run(
        "busybox readlink /proc/self/ns/net",
        host=with_host(network_mode="host"),
        namespaces=NamespacePaths(),
    )
    fresh = run("busybox readlink /proc/self/ns/net")
    assert joined.strip() == str(mine.readlink())
    assert fresh.strip() != str(mine.readlink())


def test_a_terminal_of_the_size_that_was_asked_for(
    rootfs: Path, runc: list[str], facts: HostFacts
) -> None:
    """stdin is a tty with the rows and columns of HostConfig; TERM is set."""
    given = _inputs(
        "busybox tty; stty size; echo $TERM",
        facts,
        host=with_host(console_size=(41, 123)),
        config=ContainerConfig(hostname="h", tty=True),
    )
    (rootfs.parent / "config.json").write_text(json.dumps(build_spec(given)))
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*runc, "run", "-b", str(rootfs.parent), given.container_id],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    out = b""
    while select.select([ours], [], [], _LIMIT_S)[0]:
        try:
            data = os.read(ours, 4096)
        except OSError:  # EIO: the other side is closed
            break
        out += data
    os.close(ours)
    assert process.wait(_LIMIT_S) == 0
    # runc run takes the size of the terminal that it is called from after the start.
    assert b"/dev/pts/0" in out
    assert b"xterm" in out


def test_exec_runs_as_told(rootfs: Path, runc: list[str], facts: HostFacts) -> None:
    """Another user, environment and directory; privileged has all capabilities."""
    given = _inputs("sleep 60", facts, config=ContainerConfig(hostname="h", env=["A=1"]))
    bundle = rootfs.parent
    (bundle / "config.json").write_text(json.dumps(build_spec(given)))
    name = given.container_id
    subprocess.run(
        [*runc, "run", "-d", "-b", str(bundle), name],
        check=True,
        timeout=_LIMIT_S,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )

    def execute(script: str, **changes: Any) -> str:
        process = build_exec_process(
            args=["sh", "-c", script],
            config=given.config,
            host_config=given.host_config,
            facts=facts,
            defaults=given.defaults,
            **changes,
        )
        (bundle / "process.json").write_text(json.dumps(process))
        done = subprocess.run(
            [*runc, "exec", "-p", str(bundle / "process.json"), name],
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        return done.stdout + done.stderr

    web = ResolvedUser(uid=1000, gid=29)
    assert execute("id -u; id -g; echo $A $B; pwd", user=web, env=["B=2"], cwd="/tmp").split() == [
        "1000", "29", "1", "2", "/tmp",
    ]  # fmt: skip
    plain = _status(execute("cat /proc/self/status", user=ResolvedUser()))
    strong = _status(execute("cat /proc/self/status", user=ResolvedUser(), privileged=True))
    assert int(plain["CapEff"], 16) == 0xA80425FB
    assert int(strong["CapEff"], 16).bit_count() == len(facts.capabilities)


def test_adapted_settings_survive_a_second_look(facts: HostFacts) -> None:
    """What is stored can be adapted again after a restart of the engine without change."""
    given = inputs(facts=facts)
    again = adapt_host_config(given.host_config, facts, given.defaults)
    assert again == given.host_config
