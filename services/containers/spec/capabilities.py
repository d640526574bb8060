"""Which capabilities a container gets: the default set, --cap-add, --cap-drop, --privileged.

Source: moby, oci/caps: names are matched without case and with or without CAP_; ALL in the
additions wins over ALL in the drops.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from services.errors import InvalidParameter
from services.system.capabilities import CAPABILITY_NAMES

ALL: Final = "ALL"
# What Docker's documentation lists as granted by default.
DEFAULT_CAPABILITIES: Final = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW",
    "CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
)  # fmt: skip


def normalize_capabilities(names: Sequence[str], available: Sequence[str]) -> tuple[str, ...]:
    """Upper case and with prefix, ALL kept as it is.

    Raises:
        InvalidParameter: a name that Linux does not have, or that is not among `available`.
    """
    found = []
    for name in names:
        name = name.upper()
        if name != ALL and not name.startswith("CAP_"):
            name = f"CAP_{name}"
        if name != ALL and name not in CAPABILITY_NAMES:
            raise InvalidParameter(f'unknown capability: "{name}"')
        if name != ALL and name not in available:
            raise InvalidParameter(
                "capability not supported by your kernel or not available in the current "
                f'environment: "{name}"'
            )
        found.append(name)
    return tuple(found)


def container_capabilities(
    *, add: Sequence[str], drop: Sequence[str], privileged: bool, available: Sequence[str]
) -> tuple[str, ...]:
    """The bounding set of a container, without repeats. Never more than `available`, which we hold.

    The defaults are cut to what we hold, so that the engine works where some were taken away.

    Raises:
        InvalidParameter: a name in `add` or `drop` that cannot be.
    """
    if privileged:
        return tuple(available)
    adds = normalize_capabilities(add, available)
    # Dropping what nobody has does no harm.
    drops = normalize_capabilities(drop, CAPABILITY_NAMES)
    if ALL in adds:
        chosen = [name for name in available if name not in drops]
    elif ALL in drops:
        chosen = list(adds)
    else:
        kept = [name for name in DEFAULT_CAPABILITIES if name in available and name not in drops]
        chosen = [*kept, *adds]
    return tuple(dict.fromkeys(chosen))


def capability_sets(names: Sequence[str], *, uid: int) -> dict[str, list[str]]:
    """The OCI `capabilities` object. Others than root get only a bounding set, as by execve."""
    bounding = list(names)
    if uid != 0:
        return {"bounding": bounding}
    return {"bounding": bounding, "effective": list(bounding), "permitted": list(bounding)}
