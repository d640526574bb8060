"""Which system call filter a container gets: builtin, a custom profile, or none.

Source: moby, daemon/seccomp_linux.go and profiles/seccomp.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any, Final

import msgspec

from services import typed_json
from services.containers.spec.seccomp_default import ARCHITECTURES, DEFAULT_RULES, EPERM, X32
from services.containers.spec.seccomp_rules import Argument, Rule, oci_syscalls
from services.containers.spec.values import Json
from services.errors import InvalidParameter
from services.system import HostFacts

UNCONFINED: Final = "unconfined"
BUILTIN: Final = "builtin"
_NATIVE: Final = {
    "amd64": "SCMP_ARCH_X86_64", "386": "SCMP_ARCH_X86", "arm64": "SCMP_ARCH_AARCH64",
    "arm": "SCMP_ARCH_ARM", "ppc64le": "SCMP_ARCH_PPC64LE", "s390x": "SCMP_ARCH_S390X",
    "riscv64": "SCMP_ARCH_RISCV64", "mips64": "SCMP_ARCH_MIPS64",
    "mips64le": "SCMP_ARCH_MIPSEL64", "loong64": "SCMP_ARCH_LOONGARCH64",
}  # fmt: skip


# What runc knows; it would refuse the rest at the start. Source: runc, libcontainer/seccomp.
_ACTIONS: Final = frozenset(
    f"SCMP_ACT_{name}"
    for name in ("KILL", "ERRNO", "TRAP", "ALLOW", "TRACE", "LOG", "NOTIFY", "KILL_THREAD",
                 "KILL_PROCESS")
)  # fmt: skip
_OPERATORS: Final = frozenset(
    f"SCMP_CMP_{name}" for name in ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")
)
_ARCHITECTURE_NAMES: Final = frozenset(
    f"SCMP_ARCH_{name}"
    for name in ("X86", "X86_64", "X32", "ARM", "AARCH64", "MIPS", "MIPS64", "MIPS64N32", "MIPSEL",
                 "MIPSEL64", "MIPSEL64N32", "PPC", "PPC64", "PPC64LE", "RISCV64", "S390", "S390X",
                 "LOONGARCH64")
)  # fmt: skip


class _Arg(msgspec.Struct, frozen=True, rename="camel"):
    index: Annotated[int, msgspec.Meta(ge=0, le=5)] = 0
    value: Any = 0  # up to 2**64 - 1: checked in `_argument`
    value_two: Any = 0
    op: str = ""


class _Filter(msgspec.Struct, frozen=True, rename="camel"):
    caps: list[str] | None = None
    arches: list[str] | None = None
    min_kernel: str = ""


class _Syscall(msgspec.Struct, frozen=True, rename="camel"):
    name: str = ""
    names: list[str] | None = None
    action: str = ""
    errno_ret: int | None = None
    args: list[_Arg | None] | None = None
    comment: str = ""
    includes: _Filter | None = None
    excludes: _Filter | None = None


class _Architecture(msgspec.Struct, frozen=True, rename="camel"):
    architecture: str = ""
    sub_architectures: list[str] | None = None


class _Profile(msgspec.Struct, frozen=True, rename="camel"):
    default_action: str = ""
    default_errno_ret: int | None = None
    architectures: list[str] | None = None
    arch_map: list[_Architecture] | None = None
    flags: list[str] | None = None
    listener_path: str = ""
    listener_metadata: str = ""
    syscalls: list[_Syscall | None] | None = None


def seccomp_section(
    *,
    asked: str,
    default: str,
    privileged: bool,
    capabilities: Collection[str],
    facts: HostFacts,
) -> Json | None:
    """The OCI `seccomp` object, None for no filter.

    `asked` is the container's choice ("" for none), `default` the daemon's: "builtin",
    "unconfined" or the text of a JSON profile in Docker's format.

    Raises:
        InvalidParameter: the profile is malformed, or asked for on a kernel without filters.
    """
    if asked == UNCONFINED or (privileged and not asked):
        return None
    if not facts.seccomp:
        if asked and asked != BUILTIN:
            raise InvalidParameter(
                "seccomp is not enabled in your kernel, cannot run a custom seccomp profile"
            )
        return None
    choice = asked or default
    if choice == UNCONFINED:
        return None
    if choice in (BUILTIN, ""):
        return default_profile(capabilities=capabilities, facts=facts)
    return custom_profile(choice, capabilities=capabilities, facts=facts)


def default_profile(*, capabilities: Collection[str], facts: HostFacts) -> Json:
    """The built-in filter for a container with this bounding set on this host."""
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": EPERM,
        "architectures": [
            name
            for name in ARCHITECTURES.get(facts.oci_architecture, ())
            # A third of what runc compiles for each process, half of the time. Where the kernel
            # has no such calls, who makes one is killed instead of told so.
            if name != X32 or facts.x32
        ],
        "syscalls": oci_syscalls(
            DEFAULT_RULES,
            capabilities=capabilities,
            architecture=facts.oci_architecture,
            kernel=facts.kernel,
        ),
    }


def custom_profile(text: str, *, capabilities: Collection[str], facts: HostFacts) -> Json | None:
    """A profile in Docker's JSON format, its conditions worked out. None when it says nothing.

    Raises:
        InvalidParameter: it is not JSON, or contradicts itself.
    """
    profile = parse_profile(text)
    if not profile.default_action and not profile.syscalls:
        return None
    section: Json = {
        "defaultAction": profile.default_action,
        "syscalls": oci_syscalls(
            [_rule(call) for call in profile.syscalls or () if call is not None],
            capabilities=capabilities,
            architecture=facts.oci_architecture,
            kernel=facts.kernel,
        ),
    }
    optional = {
        "defaultErrnoRet": profile.default_errno_ret,
        "architectures": _architectures(profile, facts.oci_architecture),
        "flags": profile.flags,
        "listenerPath": profile.listener_path,
        "listenerMetadata": profile.listener_metadata,
    }
    section.update({name: value for name, value in optional.items() if value})
    return section


def parse_profile(text: str) -> _Profile:
    """Decode and check a profile. Raises InvalidParameter with the reason."""
    try:
        profile = typed_json.decode(text, _Profile)
    except msgspec.DecodeError as error:
        raise InvalidParameter(f"Decoding seccomp profile failed: {error}") from error
    if profile.architectures and profile.arch_map:
        raise InvalidParameter(
            "both 'architectures' and 'archMap' are specified in the seccomp profile, "
            "use either 'architectures' or 'archMap'"
        )
    rules = [_rule(call) for call in profile.syscalls or () if call is not None]
    if profile.default_action or rules:
        _check_name(profile.default_action, _ACTIONS, "action")
    for name in profile.architectures or ():
        _check_name(name, _ARCHITECTURE_NAMES, "arch")
    for rule in rules:
        _check_rule(rule)
    return profile


def _check_rule(rule: Rule) -> None:
    _check_name(rule.action, _ACTIONS, "action")
    for argument in rule.args:
        _check_name(argument.op, _OPERATORS, "operator")


def _check_name(name: str, known: Collection[str], what: str) -> None:
    if name not in known:
        raise InvalidParameter(
            f"Decoding seccomp profile failed: string {name} is not a valid {what} for seccomp"
        )


def _architectures(profile: _Profile, native: str) -> list[str]:
    if profile.architectures:
        return profile.architectures
    wanted = _NATIVE.get(native)
    for entry in profile.arch_map or ():
        if entry.architecture == wanted:
            return [entry.architecture, *(entry.sub_architectures or ())]
    return []


def _rule(call: _Syscall) -> Rule:
    if call.name and call.names:
        raise InvalidParameter(
            "both 'name' and 'names' are specified in the seccomp profile, "
            "use either 'name' or 'names'"
        )
    includes, excludes = call.includes or _Filter(), call.excludes or _Filter()
    return Rule(
        names=tuple(call.names or ((call.name,) if call.name else ())),
        action=call.action,
        errno=call.errno_ret,
        args=tuple(_argument(arg) for arg in call.args or () if arg is not None),
        capabilities=tuple(includes.caps or ()),
        unless_capabilities=tuple(excludes.caps or ()),
        architectures=tuple(includes.arches or ()),
        unless_architectures=tuple(excludes.arches or ()),
        min_kernel=_kernel(includes.min_kernel),
        unless_kernel=_kernel(excludes.min_kernel),
    )


def _argument(arg: _Arg) -> Argument:
    for value in (arg.value, arg.value_two):
        if not isinstance(value, int) or not 0 <= value < 2**64:
            raise InvalidParameter(
                f"Decoding seccomp profile failed: argument value {value} is out of range"
            )
    return Argument(index=arg.index, op=arg.op, value=arg.value, value_two=arg.value_two)


def _kernel(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    major, separator, minor = text.partition(".")
    if not (separator and major.isdecimal() and minor.isdecimal()) or major == "0":
        raise InvalidParameter(f'Decoding seccomp profile failed: invalid kernel version: "{text}"')
    return int(major), int(minor)
