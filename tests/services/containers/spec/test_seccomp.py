"""The system call filter: the default one by condition, and custom profiles in Docker's format."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.containers.spec.capabilities import DEFAULT_CAPABILITIES
from services.containers.spec.seccomp import (
    custom_profile,
    default_profile,
    parse_profile,
    seccomp_section,
)
from services.containers.spec.seccomp_default import DEFAULT_RULES
from services.errors import InvalidParameter
from services.system import HostFacts
from services.system.capabilities import CAPABILITY_NAMES

FACTS = HostFacts(kernel_version="6.1.0")


def _allowed(capabilities: tuple[str, ...], facts: HostFacts = FACTS) -> set[str]:
    """Names that are allowed whatever their arguments are."""
    profile = default_profile(capabilities=capabilities, facts=facts)
    return {
        name
        for entry in profile["syscalls"]
        if entry["action"] == "SCMP_ACT_ALLOW" and "args" not in entry
        for name in entry["names"]
    }


def test_the_default_lets_programs_work_and_keeps_the_kernel_closed() -> None:
    """Files, sockets and threads are open; mounts, modules, keys, bpf, io_uring are not."""
    allowed = _allowed(DEFAULT_CAPABILITIES)
    assert {"read", "openat", "futex", "execve", "chroot", "landlock_add_rule"} <= allowed
    closed = {
        "mount", "umount2", "unshare", "setns", "init_module", "bpf", "keyctl", "add_key",
        "reboot", "kexec_load", "io_uring_setup", "perf_event_open", "userfaultfd", "swapon",
        "clock_settime", "socket", "clone", "personality", "open_by_handle_at", "iopl", "acct",
    }  # fmt: skip
    assert not closed & allowed


@pytest.mark.parametrize(
    ("capability", "name"),
    [
        ("CAP_SYS_ADMIN", "mount"),
        ("CAP_SYS_ADMIN", "clone3"),
        ("CAP_SYS_MODULE", "init_module"),
        ("CAP_SYS_TIME", "clock_settime"),
        ("CAP_SYS_BOOT", "reboot"),
        ("CAP_BPF", "bpf"),
        ("CAP_PERFMON", "perf_event_open"),
        ("CAP_SYSLOG", "syslog"),
        ("CAP_SYS_NICE", "mbind"),
        ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
    ],
)
def test_a_capability_opens_its_calls(capability: str, name: str) -> None:
    """With it the call is allowed, without it not."""
    assert name not in _allowed(DEFAULT_CAPABILITIES)
    assert name in _allowed((*DEFAULT_CAPABILITIES, capability))


@given(held=st.sets(st.sampled_from(CAPABILITY_NAMES)), more=st.sampled_from(CAPABILITY_NAMES))
def test_more_capabilities_never_close_a_call(held: set[str], more: str) -> None:
    """The filter is monotonous in the capabilities."""
    assert _allowed(tuple(held)) <= _allowed((*held, more))


def test_cloning_without_sys_admin_makes_no_namespaces() -> None:
    """clone is allowed with none of the flags, clone3 says ENOSYS so that libc falls back."""
    rules = default_profile(capabilities=DEFAULT_CAPABILITIES, facts=FACTS)["syscalls"]
    clone = [entry for entry in rules if "clone" in entry["names"]]
    assert [entry["args"] for entry in clone] == [
        [{"index": 0, "value": 0x7E020000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]
    ]
    clone3 = [entry for entry in rules if "clone3" in entry["names"]]
    assert clone3 == [{"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]


def test_sockets_are_open_by_family() -> None:
    """INET, UNIX, NETLINK and PACKET are; ALG and VSOCK are not."""
    rules = default_profile(capabilities=DEFAULT_CAPABILITIES, facts=FACTS)["syscalls"]
    compare = {
        "SCMP_CMP_LT": int.__lt__,
        "SCMP_CMP_EQ": int.__eq__,
        "SCMP_CMP_GT": int.__gt__,
    }
    arguments = [entry["args"][0] for entry in rules if entry["names"] == ["socket"]]

    def is_open(family: int) -> bool:
        return any(compare[a["op"]](family, a["value"]) for a in arguments)

    assert all(is_open(family) for family in (1, 2, 10, 16, 17, 37, 39, 41, 44))
    assert not any(is_open(family) for family in (38, 40))


def test_the_kernel_and_the_architecture_count() -> None:
    """ptrace needs 4.8; s390 has clone's flags second and calls of its own."""
    old = dataclasses.replace(FACTS, kernel_version="4.4.0-1")
    assert "ptrace" in _allowed(DEFAULT_CAPABILITIES)
    assert "ptrace" not in _allowed(DEFAULT_CAPABILITIES, old)
    s390 = dataclasses.replace(FACTS, oci_architecture="s390x")
    profile = default_profile(capabilities=DEFAULT_CAPABILITIES, facts=s390)
    assert profile["architectures"] == ["SCMP_ARCH_S390X", "SCMP_ARCH_S390"]
    clone = [entry for entry in profile["syscalls"] if "clone" in entry["names"]]
    assert [entry["args"][0]["index"] for entry in clone] == [1]
    assert "arch_prctl" not in _allowed(DEFAULT_CAPABILITIES, s390)


@pytest.mark.parametrize("x32", [True, False])
def test_calls_that_the_kernel_does_not_have_are_not_compiled(x32: bool) -> None:
    """The x32 ABI is in the filter of a kernel that runs its programs."""
    profile = default_profile(
        capabilities=DEFAULT_CAPABILITIES, facts=dataclasses.replace(FACTS, x32=x32)
    )
    kept = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    assert profile["architectures"] == [*kept, *(["SCMP_ARCH_X32"] if x32 else [])]


def test_no_name_is_listed_twice_in_a_rule() -> None:
    """The data is clean."""
    for rule in DEFAULT_RULES:
        assert len(rule.names) == len(set(rule.names))


def _section(asked: str, **changes: Any) -> dict[str, Any] | None:
    arguments: dict[str, Any] = {
        "default": "builtin",
        "privileged": False,
        "capabilities": DEFAULT_CAPABILITIES,
        "facts": FACTS,
    }
    return seccomp_section(asked=asked, **{**arguments, **changes})


def test_who_gets_which_filter() -> None:
    """Asked over default; none when unconfined, privileged, or the kernel has no filters."""
    without = dataclasses.replace(FACTS, seccomp=False)
    builtin = _section("")
    assert builtin is not None
    assert _section("unconfined") is None
    assert _section("", default="unconfined") is None
    assert _section("builtin", default="unconfined") == builtin
    assert _section("", privileged=True) is None
    assert _section("builtin", privileged=True) == builtin
    assert _section("", facts=without) is None
    with pytest.raises(InvalidParameter, match="seccomp is not enabled in your kernel"):
        _section("{}", facts=without)


PROFILE = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "archMap": [
        {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
        {"architecture": "SCMP_ARCH_AARCH64"},
    ],
    "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [], "comment": "", "includes": {}},
        {"name": "write", "action": "SCMP_ACT_ALLOW"},
        {"names": ["a"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["b"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["c"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm64"]}},
        {"names": ["d"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "99.1"}},
        {"names": ["e"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
        {
            "names": ["f"],
            "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 1, "value": 18446744073709551615, "op": "SCMP_CMP_EQ"}],
        },
    ],
}


def test_a_custom_profile_is_worked_out() -> None:
    """Conditions are settled, the architecture chosen, the rest passes as it is."""
    section = custom_profile(json.dumps(PROFILE), capabilities=DEFAULT_CAPABILITIES, facts=FACTS)
    assert section is not None
    assert section["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    names = [entry["names"] for entry in section["syscalls"]]
    assert names == [["read"], ["write"], ["b"], ["e"], ["f"]]
    assert section["syscalls"][3]["errnoRet"] == 38
    assert section["syscalls"][4]["args"][0]["value"] == 2**64 - 1


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ("{", "Decoding seccomp profile failed"),
        ("[]", "Decoding seccomp profile failed"),
        ('{"architectures": ["a"], "archMap": [{}]}', "both 'architectures' and 'archMap'"),
        ('{"syscalls": [{"name": "a", "names": ["b"]}]}', "both 'name' and 'names'"),
        ('{"syscalls": [{"includes": {"minKernel": "x"}}]}', 'invalid kernel version: "x"'),
        ('{"syscalls": [{"args": [{"value": -1}]}]}', "argument value -1 is out of range"),
    ],
)
def test_bad_profiles_are_refused(profile: str, message: str) -> None:
    """With the reason, before anything is made."""
    with pytest.raises(InvalidParameter, match=re.escape(message)):
        custom_profile(profile, capabilities=(), facts=FACTS)


def test_an_empty_profile_is_no_filter() -> None:
    """As dockerd has it."""
    assert custom_profile("{}", capabilities=(), facts=FACTS) is None


@pytest.mark.parametrize(
    ("profile", "text"),
    [
        ('{"defaultAction": "FOO"}', "string FOO is not a valid action for seccomp"),
        (
            '{"syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}',
            "string  is not a valid action for seccomp",
        ),
        (
            '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"]}]}',
            "string  is not a valid action for seccomp",
        ),
        (
            '{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["X"]}',
            "string X is not a valid arch for seccomp",
        ),
        (
            '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], '
            '"action": "SCMP_ACT_ERRNO", "args": [{"op": "LT"}]}]}',
            "string LT is not a valid operator for seccomp",
        ),
    ],
)
def test_words_that_the_runtime_does_not_know_are_refused_early(profile: str, text: str) -> None:
    """runc would refuse them when the container starts."""
    with pytest.raises(InvalidParameter) as refusal:
        parse_profile(profile)
    assert str(refusal.value) == f"Decoding seccomp profile failed: {text}"
