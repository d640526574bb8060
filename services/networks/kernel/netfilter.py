"""The socket by which the kernel's netfilter is asked: nftables, and flows that it remembers."""

from __future__ import annotations

import socket
from typing import Final

_NETLINK_NETFILTER: Final = 12


def open_netfilter() -> socket.socket:
    """A netfilter socket of the calling thread's network namespace. It waits without a limit."""
    netlink = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER
    )
    netlink.bind((0, 0))
    return netlink
