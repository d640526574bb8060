"""The firewall's helper: runs nft scripts with libnftables. A program of its own; see `nft`.

    python -I -S nft_process.py <socket's descriptor> [apart]

With `apart` in a network namespace of its own, where nothing is but what it is told to make.

libnftables ends its process when it cannot open its socket, so it must not be in ours. Each message
is four bytes with the length of what follows; an answer begins with 0 for success and 1 for a
refusal; what follows is nft's output, as much as there is room for, or its complaint. It imports
nothing of ours, and ends when nobody speaks to it any more.
"""

from __future__ import annotations

import _socket
import ctypes
import sys

NAME = b"wf-firewall"  # by which the kernel's notifications tell our changes from others'
MOST_OUTPUT_BYTES = 4 << 20
_PR_SET_NAME = 15
_STATELESS, _HANDLE = 1 << 2, 1 << 3
_CLONE_NEWNET = 0x40000000


def main(descriptor: int, *, is_apart: bool) -> None:
    """Serve one connection to its end."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, descriptor)
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_NAME, NAME, 0, 0, 0)
    if is_apart and libc.unshare(_CLONE_NEWNET):
        sys.exit("no network namespace of its own")
    nft = ctypes.CDLL("libnftables.so.1")
    nft.nft_ctx_new.restype = ctypes.c_void_p
    nft.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
    nft.nft_ctx_get_output_buffer.restype = ctypes.c_char_p
    context = ctypes.c_void_p(nft.nft_ctx_new(0))
    nft.nft_ctx_buffer_output(context)
    nft.nft_ctx_buffer_error(context)
    nft.nft_ctx_output_set_flags(context, _STATELESS | _HANDLE)
    connection.sendall(_framed(b"0"))
    while script := _received(connection):
        failed = nft.nft_run_cmd_from_buffer(context, script) != 0
        error = nft.nft_ctx_get_error_buffer(context) or b""
        output = nft.nft_ctx_get_output_buffer(context) or b""  # emptied by the asking
        answer = b"1" + error[:4000] if failed else b"0" + output[:MOST_OUTPUT_BYTES]
        connection.sendall(_framed(answer))


def _framed(message: bytes) -> bytes:
    return len(message).to_bytes(4, "big") + message


def _received(connection: _socket.socket) -> bytes:
    """One message; b"" at the end."""
    head = _exactly(connection, 4)
    return _exactly(connection, int.from_bytes(head, "big")) if head else b""


def _exactly(connection: _socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        part = connection.recv(min(count - len(data), 65536))
        if not part:
            return b""
        data += part
    return bytes(data)


if __name__ == "__main__":
    main(int(sys.argv[1]), is_apart=sys.argv[2:] == ["apart"])
