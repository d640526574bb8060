"""Whether what goes from port to port of a bridge passes the rules for IP at all: br_netfilter."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Final

from services.errors import EngineError

_SWITCHES: Final = Path("/proc/sys/net/bridge")
_LOAD: Final = ("modprobe", "br_netfilter")
_LOAD_LIMIT_S: Final = 20.0


def require_bridge_filter(*, ipv6: bool) -> None:
    """Switch it on. Without it, containers that are to be kept apart would reach each other.

    Blocks while the module is loaded. No rule of nftables asks for it: a Debian that has just
    booted is without.

    Raises:
        EngineError: the kernel has none.
    """
    if not _SWITCHES.exists():
        # Whether that did it is seen below.
        with suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(_LOAD, capture_output=True, check=False, timeout=_LOAD_LIMIT_S)
    names = ["bridge-nf-call-iptables", *(["bridge-nf-call-ip6tables"] if ipv6 else [])]
    try:
        for name in names:
            switch = _SWITCHES / name
            if switch.read_text().strip() != "1":
                switch.write_text("1")
    except OSError as error:
        raise EngineError(
            "containers of a network cannot be kept apart (icc=false): "
            f"the kernel lacks br_netfilter ({error}); try modprobe br_netfilter"
        ) from error
