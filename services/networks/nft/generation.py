"""The number that the kernel gives to a namespace's nftables: each transaction makes another one.

Who remembers it after writing knows later whether anybody has changed anything since.
Source: linux/netfilter/nf_tables.h, NFT_MSG_GETGEN.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

from services.networks.kernel.netfilter import open_netfilter
from services.networks.kernel.netns import in_namespace

ANSWER_LIMIT_S: Final = 5.0
_GET_GENERATION: Final = (10 << 8) | 16
_REQUEST: Final = 1
_HEADER: Final = struct.Struct("=IHHII")
_FAMILY: Final = struct.Struct("!BBH")
_GENERATION: Final = struct.Struct("!I")
_ATTRIBUTE_BYTES: Final = 4


def generation_in(namespace: Path) -> int:
    """Of the namespace held at a path. Blocks for about a millisecond.

    Raises:
        OSError: none is held there, or the kernel has no nftables.
    """
    return in_namespace(namespace, _generation)


def _generation() -> int:
    with open_netfilter() as netlink:
        netlink.settimeout(ANSWER_LIMIT_S)
        size = _HEADER.size + _FAMILY.size
        netlink.send(_HEADER.pack(size, _GET_GENERATION, _REQUEST, 1, 0) + _FAMILY.pack(0, 0, 0))
        answer = netlink.recv(4096)
    at = _HEADER.size + _FAMILY.size + _ATTRIBUTE_BYTES
    if len(answer) < at + _GENERATION.size:
        raise OSError("nftables do not tell their generation")
    number: int = _GENERATION.unpack_from(answer, at)[0]
    return number
