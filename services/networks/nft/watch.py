"""Who changes nftables: the kernel's notifications, read for changes by others.

Each transaction ends with a message that names the program whose it was. Source: linux/netfilter/
nf_tables.h.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from typing import Final

from services.networks.kernel.netfilter import open_netfilter

_SOL_NETLINK: Final = 270
_NETLINK_ADD_MEMBERSHIP: Final = 1
_NFNLGRP_NFTABLES: Final = 7
_SUBSYSTEM: Final = 10
_DEL_TABLE, _DEL_CHAIN, _DEL_RULE, _DEL_SET, _DEL_ELEMENT, _NEW_GENERATION = 2, 5, 8, 11, 14, 15
_LOSSES: Final = frozenset((_DEL_TABLE, _DEL_CHAIN, _DEL_RULE, _DEL_SET, _DEL_ELEMENT))
_ATTR_TABLE: Final = 1  # the same number in each of the messages above
_ATTR_PROGRAM: Final = 3  # of a generation
_HEADER: Final = struct.Struct("=IHHII")
_NFGEN_BYTES: Final = 4
_BUFFER_BYTES: Final = 1 << 20


def open_watch() -> socket.socket:
    """A socket that hears of every transaction in this network namespace; it does not block."""
    watch = open_netfilter()
    try:
        watch.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        watch.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, _NFNLGRP_NFTABLES)
        watch.setblocking(False)
    except BaseException:
        watch.close()
        raise
    return watch


class LossWatch:
    """Tells whether somebody other than `program` has taken something out of `table`.

    `has_foreign`: whether there was a change of anything by another. Whoever looks resets it.
    """

    def __init__(self, *, table: str, program: bytes) -> None:
        self._table = table.encode()
        self._program = program
        self._is_touched = False
        self.has_foreign = False

    def drain(self, watch: socket.socket, *, datagrams: int = 256) -> bool:
        """Read what there is, up to a bound; whether there was such a loss."""
        is_lost = False
        for _ in range(datagrams):
            try:
                data = watch.recv(65536)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                # Notifications were dropped; whatever they told is assumed.
                self.has_foreign = is_lost = True
                continue
            is_lost |= self.feed(data)
        return is_lost

    def feed(self, data: bytes) -> bool:
        """One datagram; whether a transaction that ends in it was such a loss."""
        is_lost = False
        for kind, body in _messages(data):
            if kind in _LOSSES:
                self._is_touched |= _attribute(body, _ATTR_TABLE) == self._table
            elif kind == _NEW_GENERATION:
                if _attribute(body, _ATTR_PROGRAM) != self._program:
                    self.has_foreign = True
                    is_lost |= self._is_touched
                self._is_touched = False
        return is_lost


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size:
            return
        if kind >> 8 == _SUBSYSTEM:
            yield kind & 0xFF, data[offset + _HEADER.size + _NFGEN_BYTES : offset + length]
        offset += (length + 3) & ~3


def _attribute(body: bytes, wanted: int) -> bytes | None:
    """A string attribute without its end; None if there is none."""
    offset = 0
    while offset + 4 <= len(body):
        length, kind = struct.unpack_from("=HH", body, offset)
        if length < 4:
            return None
        if kind & 0x3FFF == wanted:
            return body[offset + 4 : offset + length].rstrip(b"\0")
        offset += (length + 3) & ~3
    return None
