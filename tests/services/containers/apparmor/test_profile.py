"""The default AppArmor profile: which one a container gets, and what the text lets through."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.containers.apparmor import DEFAULT_PROFILE, container_profile, profile_text

FEATURES = "/etc/apparmor.d/abi/3.0"


@pytest.mark.parametrize(
    ("asked", "privileged", "expected"),
    [
        ("", False, DEFAULT_PROFILE),
        ("", True, "unconfined"),
        ("mine", False, "mine"),
        ("mine", True, "mine"),
        ("unconfined", False, "unconfined"),
    ],
)
def test_the_profile_that_a_container_gets(asked: str, privileged: bool, expected: str) -> None:
    """What was asked for, else none when privileged, else the default."""
    assert container_profile(asked, privileged=privileged, default=DEFAULT_PROFILE) == expected


def text(engine_profile: str = "unconfined", *, has_files: bool = False) -> str:
    """The profile on a host with or without AppArmor's own files."""
    return profile_text(
        DEFAULT_PROFILE,
        engine_profile=engine_profile,
        has_tunables=has_files,
        has_base=has_files,
    )


@pytest.mark.parametrize("has_files", [True, False])
@pytest.mark.parametrize("engine_profile", ["unconfined", "/usr/bin/engine with spaces"])
def test_the_parser_takes_it(engine_profile: str, has_files: bool) -> None:
    """Compiled for a kernel with all of AppArmor's features; nothing goes to this one."""
    parser = shutil.which("apparmor_parser", path="/usr/sbin:/sbin")
    if parser is None:
        pytest.skip("needs apparmor_parser")
    compiled = subprocess.run(
        [parser, "-q", "-Q", "-K", "-M", FEATURES, "-S"],
        input=text(engine_profile, has_files=has_files).encode(),
        capture_output=True,
        check=True,
    )
    assert DEFAULT_PROFILE.encode() in compiled.stdout


def denials() -> Iterator[tuple[re.Pattern[str], str]]:
    """Each `deny` of a path as an expression, with the permissions that it takes away."""
    for pattern, permissions in re.findall(r"deny (\S+/\S*) (\w+),", text()):
        yield re.compile(expression(pattern.replace("@{PROC}", "/proc"))), permissions


def expression(pattern: str) -> str:
    """AppArmor's globbing as a regular expression (apparmor.d(5), "Globbing")."""
    tokens = {"**": ".*", "*": "[^/]*", "?": "[^/]", "{": "(?:", "}": ")", ",": "|"}
    parts = re.findall(r"\*\*|\[[^]]*\]|.", pattern)
    return "".join(
        tokens.get(part) or (part if part.startswith("[") else re.escape(part)) for part in parts
    )


def denied(path: str) -> set[str]:
    """The permissions that the profile takes away for a path."""
    return {
        letter
        for pattern, permissions in denials()
        if pattern.fullmatch(path)
        for letter in permissions
    }


WRITE, CHANGE, ALL = {"w"}, set("wklx"), set("rwklx")


@pytest.mark.parametrize(
    ("path", "permissions"),
    [
        ("/etc/passwd", set()),
        ("/proc/1/oom_score_adj", set()),
        ("/proc/12/comm", set()),
        ("/proc/123/comm", set()),
        ("/proc/123456/task/7/comm", set()),
        ("/proc/uptime", WRITE),
        ("/proc/sysrq-trigger", ALL),
        ("/proc/kcore", ALL),
        ("/proc/irq/0/smp_affinity", WRITE),
        ("/proc/fs/nfsd", WRITE),
        ("/proc/acpi/wakeup", WRITE),
        ("/proc/sys/kernel/shmmax", set()),
        ("/proc/sys/kernel/shm_rmid_forced", set()),
        ("/proc/sys/kernel/core_pattern", WRITE),
        ("/proc/sys/kernel/modprobe", WRITE),
        ("/proc/sys/vm/swappiness", WRITE),
        ("/proc/sys/net/ipv4/ip_forward", WRITE),
        ("/sys/fs/cgroup/memory/x", set()),
        ("/sys/fs/cgroup", set()),
        ("/sys/fs/bpf/x", CHANGE),
        ("/sys/fs/selinux/enforce", CHANGE),
        ("/sys/kernel/mm/ksm/run", CHANGE),
        ("/sys/devices/system/cpu/online", CHANGE),
        ("/sys/firmware/efi/vars", ALL),
        ("/sys/devices/virtual/powercap/intel-rapl/energy_uj", ALL),
        ("/sys/kernel/security/apparmor/profiles", ALL),
    ],
)
def test_what_is_denied(path: str, permissions: set[str]) -> None:
    """By path: processes' own directories, shared memory and cgroups stay open, the rest not."""
    assert denied(path) == permissions


@given(pid=st.integers(1, 4194304), file=st.from_regex(r"[a-z_]{1,8}", fullmatch=True))
def test_processes_may_write_about_themselves(pid: int, file: str) -> None:
    """No number of a process falls under a denial."""
    assert not denied(f"/proc/{pid}/{file}")


def test_signals_come_from_the_engine_and_the_own_kind() -> None:
    """No other profile's processes may send one."""
    senders = re.findall(r'signal (?:receive|\(send receive\)) peer="([^"]+)"', text("mine"))
    assert senders == ["unconfined", "runc", "crun", "mine", DEFAULT_PROFILE]
