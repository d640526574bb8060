"""--security-opt, parsed once. Source: moby, daemon/daemon_unix.go, parseSecurityOpt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.errors import InvalidParameter

_TRUE: Final = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE: Final = frozenset(("0", "f", "F", "FALSE", "false", "False"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityOptions:
    """`seccomp` and `apparmor` are "" unless asked for; `labels` are SELinux's."""

    no_new_privileges: bool = False
    seccomp: str = ""
    apparmor: str = ""
    labels: tuple[str, ...] = ()
    writable_cgroups: bool = False
    system_paths_unconfined: bool = False


def parse_security_options(
    options: Sequence[str], *, no_new_privileges: bool = False
) -> SecurityOptions:
    """Read HostConfig.SecurityOpt. `no_new_privileges` is the daemon's default.

    Raises:
        InvalidParameter: an option that is unknown, or has no value where it needs one.
    """
    seccomp = apparmor = ""
    writable_cgroups = unconfined_paths = False
    labels: list[str] = []
    for option in options:
        if option == "no-new-privileges":
            no_new_privileges = True
            continue
        if option == "disable":
            labels.append("disable")
            continue
        name, value = _split(option)
        match name:
            case "label":
                labels.append(value)
            case "apparmor":
                apparmor = value
            case "seccomp":
                seccomp = value
            case "no-new-privileges":
                no_new_privileges = _boolean(value, option)
            case "writable-cgroups":
                writable_cgroups = _boolean(value, option)
            case "systempaths" if value == "unconfined":  # the CLI's; it sends empty path lists too
                unconfined_paths = True
            case _:
                raise InvalidParameter(f"invalid --security-opt 2: {json.dumps(option)}")
    return SecurityOptions(
        no_new_privileges=no_new_privileges,
        seccomp=seccomp,
        apparmor=apparmor,
        labels=tuple(labels),
        writable_cgroups=writable_cgroups,
        system_paths_unconfined=unconfined_paths,
    )


def _split(option: str) -> tuple[str, str]:
    for separator in ("=", ":"):
        if separator in option:
            name, _, value = option.partition(separator)
            return name, value
    raise InvalidParameter(f"invalid --security-opt 1: {json.dumps(option)}")


def _boolean(value: str, option: str) -> bool:
    if value in _TRUE or value in _FALSE:
        return value in _TRUE
    raise InvalidParameter(f"invalid --security-opt 2: {json.dumps(option)}")
