"""The balancer's helper: runs nft scripts with libnftables in containers' namespaces.

    python -I -S nft_inside_process.py <socket's descriptor>

As `nft_process`, but that a message begins with a line that is the path of a namespace, which is
entered for its script alone. It imports nothing of ours, and ends when nobody speaks to it any
more.
"""

from __future__ import annotations

import _socket
import ctypes
import os
import sys
import threading

NAME = b"wf-balancer"
MOST_OUTPUT_BYTES = 4 << 20
MOST_CLOSING = 16
"""Contexts that are being given back at once: the kernel takes some 16 ms to close the socket of
each, and until then the namespace is kept."""
_CLONE_NEWNET = 0x40000000
_PR_SET_NAME = 15


def main(descriptor: int) -> None:
    """Serve one connection to its end."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, descriptor)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NAME, NAME, 0, 0, 0)
    nft = ctypes.CDLL("libnftables.so.1")
    nft.nft_ctx_new.restype = ctypes.c_void_p
    nft.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
    nft.nft_ctx_get_output_buffer.restype = ctypes.c_char_p
    closing = threading.BoundedSemaphore(MOST_CLOSING)
    own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    connection.sendall(_framed(b"0"))
    while message := _received(connection):
        path, _, script = message.partition(b"\n")
        answer = _entered(libc, path)
        if not answer:
            context = ctypes.c_void_p(nft.nft_ctx_new(0))
            answer = _answer(nft, context, script)
            libc.setns(own, _CLONE_NEWNET)  # whoever stays in a namespace keeps it
            closing.acquire()
            threading.Thread(target=_close, args=(nft, context, closing)).start()
        connection.sendall(_framed(answer))


def _entered(libc: ctypes.CDLL, path: bytes) -> bytes:
    """Enter a namespace: what is to be answered when that cannot be, else b""."""
    try:
        namespace = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        return f"1namespace gone: {error}".encode()
    try:
        if libc.setns(namespace, _CLONE_NEWNET) != 0:
            return f"1namespace gone: {os.strerror(ctypes.get_errno())}".encode()
    finally:
        os.close(namespace)
    return b""


def _answer(nft: ctypes.CDLL, context: ctypes.c_void_p, script: bytes) -> bytes:
    nft.nft_ctx_buffer_output(context)
    nft.nft_ctx_buffer_error(context)
    failed = nft.nft_run_cmd_from_buffer(context, script) != 0
    error = nft.nft_ctx_get_error_buffer(context) or b""
    output = nft.nft_ctx_get_output_buffer(context) or b""
    return b"1" + error[:4000] if failed else b"0" + output[:MOST_OUTPUT_BYTES]


def _close(nft: ctypes.CDLL, context: ctypes.c_void_p, closing: threading.BoundedSemaphore) -> None:
    nft.nft_ctx_free(context)
    closing.release()


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
    main(int(sys.argv[1]))
