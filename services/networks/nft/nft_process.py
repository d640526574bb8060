"""The helper of the firewall and of the balancer: runs nft scripts with libnftables; see `helper`.

    python -I -S nft_process.py <socket's descriptor> [apart | inside]

Its scripts are run where it is; with `apart` in a network namespace of its own, where nothing is
but what it is told to make; with `inside` in containers' namespaces: a message begins with a line
that is the path of one, which is entered for its script alone.

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
NAME_INSIDE = b"wf-balancer"
MOST_OUTPUT_BYTES = 4 << 20
MOST_CLOSING = 16
"""Contexts that are being given back at once: the kernel takes some 16 ms to close the socket of
each, and until then the namespace is kept."""
_PR_SET_NAME = 15
_STATELESS, _HANDLE = 1 << 2, 1 << 3
_CLONE_NEWNET = 0x40000000


def main(descriptor: int, where: str = "") -> None:
    """Serve one connection to its end."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, descriptor)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NAME, NAME_INSIDE if where == "inside" else NAME, 0, 0, 0)
    if where == "apart" and libc.unshare(_CLONE_NEWNET):
        sys.exit("no network namespace of its own")
    nft = ctypes.CDLL("libnftables.so.1")
    nft.nft_ctx_new.restype = ctypes.c_void_p
    nft.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
    nft.nft_ctx_get_output_buffer.restype = ctypes.c_char_p
    if where == "inside":
        _serve_inside(connection, libc, nft)
    else:
        _serve(connection, nft)


def _serve(connection: _socket.socket, nft: ctypes.CDLL) -> None:
    context = _new_context(nft)
    nft.nft_ctx_output_set_flags(context, _STATELESS | _HANDLE)
    connection.sendall(_framed(b"0"))
    while script := _received(connection):
        connection.sendall(_framed(_answer(nft, context, script)))


def _serve_inside(connection: _socket.socket, libc: ctypes.CDLL, nft: ctypes.CDLL) -> None:
    import os  # the firewall's helper starts without them
    import threading

    closing = threading.BoundedSemaphore(MOST_CLOSING)

    def close(context: ctypes.c_void_p) -> None:
        nft.nft_ctx_free(context)
        closing.release()

    own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    connection.sendall(_framed(b"0"))
    while message := _received(connection):
        path, _, script = message.partition(b"\n")
        answer = _entered(libc, path)
        if not answer:
            context = _new_context(nft)
            answer = _answer(nft, context, script)
            libc.setns(own, _CLONE_NEWNET)  # whoever stays in a namespace keeps it
            closing.acquire()
            threading.Thread(target=close, args=(context,)).start()
        connection.sendall(_framed(answer))


def _entered(libc: ctypes.CDLL, path: bytes) -> bytes:
    """Enter a namespace: what is to be answered when that cannot be, else b""."""
    import os

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


def _new_context(nft: ctypes.CDLL) -> ctypes.c_void_p:
    context = ctypes.c_void_p(nft.nft_ctx_new(0))
    nft.nft_ctx_buffer_output(context)
    nft.nft_ctx_buffer_error(context)
    return context


def _answer(nft: ctypes.CDLL, context: ctypes.c_void_p, script: bytes) -> bytes:
    failed = nft.nft_run_cmd_from_buffer(context, script) != 0
    error = nft.nft_ctx_get_error_buffer(context) or b""
    output = nft.nft_ctx_get_output_buffer(context) or b""  # emptied by the asking
    return b"1" + error[:4000] if failed else b"0" + output[:MOST_OUTPUT_BYTES]


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
    main(int(sys.argv[1]), *sys.argv[2:])
