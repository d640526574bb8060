"""Which AppArmor profile a container gets, and the text of the default one.

Source: Docker's documentation, "AppArmor security profiles for Docker"; moby/profiles, apparmor.
"""

from __future__ import annotations

from typing import Final

DEFAULT_PROFILE: Final = "docker-default"
UNCONFINED: Final = "unconfined"

# AppArmor's patterns know no "anything but a word": a name is excluded letter by letter.
# Under /proc only processes' own directories and sys may be written to.
_NEITHER_PID_NOR_SYS: Final = (
    "[^1-9/]",
    "[^1-9/][^0-9/]",
    "[^1-9s/][^0-9y/][^0-9s/]",
    "[^1-9/][^0-9/][^0-9/][^0-9/]*",
)
# Under /sys only fs/cgroup; who may write there is decided by how it is mounted.
_NOT_CGROUP: Final = ("[^f]*", "f[^s]*", "fs/[^c]*", "fs/c[^g]*", "fs/cg[^r]*")
# Under /proc/sys only kernel/shm*: System V shared memory, which is the container's own.
_NOT_SHM: Final = ("[^k]**", "kernel/{?,??,[^s][^h][^m]**}")
# The kernel's cryptography, a wide surface; what reaches the hypervisor past network namespaces;
# and what kernels have removed, or are about to, as nobody keeps it secure.
_CLOSED_FAMILIES: Final = (
    "alg", "vsock", "appletalk", "atmsvc", "ax25", "econet", "ipx", "irda", "netrom", "rose",
    "wanpipe",
)  # fmt: skip


def container_profile(asked: str, *, privileged: bool, default: str) -> str:
    """The profile of a container's processes; "" leaves them with the engine's own.

    `asked` is what --security-opt apparmor= says, "" for nothing.
    """
    return asked or (UNCONFINED if privileged else default)


def profile_text(
    name: str, *, engine_profile: str = UNCONFINED, has_tunables: bool, has_base: bool
) -> str:
    """The default profile, for apparmor_parser.

    `engine_profile` confines the engine, which sends signals to containers. `has_tunables` and
    `has_base`: the host has AppArmor's own files tunables/global and abstractions/base.
    """
    head = "#include <tunables/global>" if has_tunables else "@{PROC}=/proc/"
    base = "  #include <abstractions/base>" if has_base else ""
    # Signals come from the host's processes, from the engine, from the runtime that it calls
    # (distributions confine it by itself) and from the container's own.
    senders = dict.fromkeys((UNCONFINED, "runc", "crun", engine_profile))
    families = "\n".join(f"  deny network {family}," for family in _CLOSED_FAMILIES)
    signals = "\n".join(f'  signal receive peer="{sender}",' for sender in senders)
    return f"""{head}

profile {name} flags=(attach_disconnected,mediate_deleted) {{
{base}
  # All that the container's namespaces and capabilities allow,
  file,
  network,
  capability,
  umount,
{signals}
  signal (send receive) peer="{name}",
  ptrace (read trace readby tracedby) peer="{name}",

  # but no mounts, and nothing that changes or tells about the machine beyond the container.
  deny mount,
{families}
  deny @{{PROC}}/* w,
  deny @{{PROC}}/{{{",".join(_NEITHER_PID_NOR_SYS)}}}/** w,
  deny @{{PROC}}/sys/{{{",".join(_NOT_SHM)}}} w,
  deny @{{PROC}}/{{kcore,sysrq-trigger}} rwklx,
  deny /sys/{{{",".join(_NOT_CGROUP)}}}/** wklx,
  deny /sys/{{firmware,kernel/security,devices/virtual/powercap}}/** rwklx,
}}
"""
