"""services.system: facts from made-up hosts, and from the one that the tests run on."""

from __future__ import annotations

import ctypes
import dataclasses
import errno
import os
import platform
from pathlib import Path

import pytest

from services.system import CgroupFacts, HostFacts, info_warnings, read_host_facts, security_options
from services.system.capabilities import CAPABILITY_NAMES, capabilities_in_mask
from services.system.cgroups import controller_mountpoints, read_cgroup_facts, unified_mountpoint
from services.system.reading import parse_os_release

HYBRID = """\
30 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
31 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
32 30 0:32 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory
33 30 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
34 30 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
"""
UNIFIED = "30 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"


def _write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_controllers_come_from_the_super_options_of_v1_mounts() -> None:
    """Each controller maps to its mount; named hierarchies and cgroup2 are not controllers."""
    assert controller_mountpoints(HYBRID) == {
        "cpu": "/sys/fs/cgroup/cpu,cpuacct",
        "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
        "memory": "/sys/fs/cgroup/memory",
    }
    assert unified_mountpoint(HYBRID) == "/sys/fs/cgroup/unified"
    assert unified_mountpoint(UNIFIED) == "/sys/fs/cgroup"


def test_a_hybrid_machine_counts_as_version_1(tmp_path: Path) -> None:
    """With both hierarchies mounted the controllers are v1's; absent files are absent limits."""
    root = _write(
        tmp_path,
        {
            "proc/self/mountinfo": HYBRID,
            "sys/fs/cgroup/memory/memory.memsw.limit_in_bytes": "",
            "sys/fs/cgroup/cpu,cpuacct/cpu.shares": "",
        },
    )
    facts = read_cgroup_facts(root)
    assert facts.version == "1"
    assert facts.memory_limit
    assert facts.swap_limit
    assert facts.cpu_shares
    assert not facts.cpu_cfs
    assert not facts.pids_limit
    assert not facts.cpuset


def test_a_unified_machine_has_what_its_controllers_say(tmp_path: Path) -> None:
    """Version 2: limits follow cgroup.controllers; swappiness and OOM disable do not exist."""
    root = _write(
        tmp_path,
        {
            "proc/self/mountinfo": UNIFIED,
            "proc/self/cgroup": "0::/system.slice/a.service\n",
            "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory pids\n",
            "sys/fs/cgroup/cpuset.cpus.effective": "0-3\n",
            "sys/fs/cgroup/system.slice/a.service/memory.swap.max": "max\n",
        },
    )
    facts = read_cgroup_facts(root)
    assert facts.version == "2"
    assert facts.swap_limit
    assert facts.cpus == "0-3"
    assert not facts.memory_swappiness
    assert not facts.oom_kill_disable
    assert facts.blkio_weight


def test_the_host_of_this_test_can_be_read() -> None:
    """Reading the real host raises nothing and finds what every Linux has."""
    facts = read_host_facts()
    assert facts.kernel >= (4, 0)
    assert facts.ncpu >= 1
    assert facts.memory_total_bytes > 0
    assert facts.rlimits["NOFILE"].hard > 0
    assert set(facts.capabilities) <= set(CAPABILITY_NAMES)
    assert facts.kernel_version == os.uname().release


def test_a_host_without_proc_and_sys_still_gives_facts(tmp_path: Path) -> None:
    """What cannot be read is absent, not an error."""
    facts = read_host_facts(tmp_path)
    assert facts.capabilities == ()
    assert not facts.cgroup.memory_limit
    assert not facts.apparmor


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n', "Debian GNU/Linux 12 (bookworm)"),
        ("PRETTY_NAME='Void'\n# comment\n", "Void"),
        ("PRETTY_NAME=Plain\n\n", "Plain"),
        ('PRETTY_NAME="broken\n', "broken"),
    ],
)
def test_os_release_in_all_its_quoting(text: str, expected: str) -> None:
    """Quotes are shell's; a broken line does not hide the rest."""
    assert parse_os_release(text)["PRETTY_NAME"] == expected


def test_capability_masks_are_read_by_bit() -> None:
    """Bit 0 is CHOWN, bit 24 SYS_RESOURCE; bits above the known ones are ignored."""
    assert capabilities_in_mask(1) == ("CAP_CHOWN",)
    assert capabilities_in_mask(1 << 24) == ("CAP_SYS_RESOURCE",)
    assert capabilities_in_mask(2**64 - 1) == CAPABILITY_NAMES


def test_info_warns_of_each_missing_limit_in_dockerds_words() -> None:
    """A capable host gives no warning; each lack gives its own line."""
    assert info_warnings(HostFacts()) == []
    first = CgroupFacts(version="1", memory_limit=False, swap_limit=False, oom_kill_disable=False)
    assert info_warnings(HostFacts(cgroup=first, ipv4_forwarding=False)) == [
        "WARNING: No memory limit support",
        "WARNING: No swap limit support",
        "WARNING: No oom kill disable support",
        "WARNING: IPv4 forwarding is disabled",
    ]


def test_security_options_name_what_is_on() -> None:
    """AppArmor, seccomp with its profile, and cgroup namespaces where they are the default."""
    facts = HostFacts(apparmor=True)
    assert security_options(facts) == [
        "name=apparmor",
        "name=seccomp,profile=builtin",
        "name=cgroupns",
    ]
    bare = dataclasses.replace(
        facts, apparmor=False, seccomp=False, cgroup=CgroupFacts(version="1")
    )
    assert security_options(bare) == []


def test_no_new_privileges_is_told_when_it_is_the_default() -> None:
    """API 1.43: not versioned."""
    assert "name=no-new-privileges" in security_options(HostFacts(), no_new_privileges=True)


@pytest.mark.parametrize(
    ("lacking", "container"),
    [
        (None, None),
        ("sys/module/apparmor/parameters/enabled", None),
        ("sys/kernel/security/apparmor/profiles", None),
        ("usr/sbin/apparmor_parser", None),
        (None, "lxc"),
    ],
)
def test_apparmor_needs_the_kernel_its_files_and_the_parser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacking: str | None, container: str | None
) -> None:
    """And that we are no container ourselves: one cannot load profiles of the host."""
    for path in (
        "sys/module/apparmor/parameters/enabled",
        "sys/kernel/security/apparmor/profiles",
        "usr/sbin/apparmor_parser",
    ):
        if path != lacking:
            (tmp_path / path).parent.mkdir(parents=True)
            (tmp_path / path).write_text("Y\n")
    if container is None:
        monkeypatch.delenv("container", raising=False)
    else:
        monkeypatch.setenv("container", container)
    assert read_host_facts(tmp_path).apparmor == (lacking is None and container is None)


def test_a_failure_of_somebody_elses_hides_no_seccomp() -> None:
    """errno stays after a call that succeeds: a filter that is not set would be the price."""
    expected = read_host_facts().seccomp
    ctypes.set_errno(errno.EINVAL)
    assert read_host_facts().seccomp is expected


@pytest.mark.parametrize(
    ("machine", "filtered", "answer", "expected"),
    [
        pytest.param("x86_64", "0", 4711, True, id="answered"),
        pytest.param("x86_64", "0", -1, False, id="unknown to the kernel"),
        pytest.param("x86_64", "2", None, True, id="not tried under a filter"),
        pytest.param("aarch64", "0", None, False, id="another machine"),
    ],
)
def test_x32_is_what_the_kernel_answers(
    machine: str,
    filtered: str,
    answer: int | None,
    expected: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """getpid by the x32 ABI tells, where nothing can be killed for it."""
    calls: list[int] = []

    class Libc:
        def syscall(self, number: ctypes.c_long) -> int:
            calls.append(number.value)
            assert answer is not None
            return answer

        def prctl(self, *_arguments: int | None) -> int:
            return 0

    monkeypatch.setattr(ctypes, "CDLL", lambda *_arguments, **_options: Libc())
    monkeypatch.setattr(platform, "machine", lambda: machine)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/status").write_text(f"Seccomp:\t{filtered}\n")
    assert read_host_facts(tmp_path).x32 is expected
    assert calls == ([] if answer is None else [0x40000027])
