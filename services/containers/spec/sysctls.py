"""Which sysctls a container may set: those that its own namespaces hold.

Source: runc, libcontainer/configs/validate: it would refuse the others at start.
"""

from __future__ import annotations

from typing import Final

import msgspec

from services.containers.config import HostConfig
from services.errors import InvalidParameter

_IPC: Final = frozenset(
    ("kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall",
     "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced")
)  # fmt: skip


def check_sysctls(host: HostConfig) -> None:
    """Raise InvalidParameter for a sysctl that is not the container's own."""
    for name in () if host.sysctls is msgspec.UNSET else host.sysctls or ():
        dotted = name.replace("/", ".") if "/" in name.split(".", 1)[0] else name
        if dotted in _IPC or dotted.startswith("fs.mqueue."):
            if host.ipc_mode == "host":
                raise InvalidParameter(f'sysctl "{name}" is not allowed in the hosts ipc namespace')
        elif dotted.startswith("net."):
            if host.network_mode == "host":
                raise InvalidParameter(f'sysctl "{name}" not allowed in host network namespace')
        elif dotted == "kernel.domainname":
            if host.uts_mode == "host":
                raise InvalidParameter(f'sysctl "{name}" is not allowed in the hosts uts namespace')
        elif dotted == "kernel.hostname":
            raise InvalidParameter(
                f'sysctl "{name}" is not allowed as it conflicts with the OCI "hostname" field'
            )
        else:
            raise InvalidParameter(f'sysctl "{name}" is not in a separate kernel namespace')
