"""Bodies without bound in memory with one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

SERVER = """
import sys, trio
from pathlib import Path
from services.api.wire.request import current_request
from tests.services.api.support import routes, serving

async def view():
    total = 0
    async for piece in current_request().body:
        total += len(piece)
        if total % 16 == 0:
            await trio.sleep(0.0005)  # a consumer slower than the client
    # Not ru_maxrss: that outlives exec, and begins with what the test's own process had.
    status = Path("/proc/self/status").read_text()
    peak_kb = int(status.partition("VmHWM:")[2].split()[0])
    return f"{total} {peak_kb}"

async def main():
    async with serving(routes(("POST", "/", view)), Path(sys.argv[1])):
        print("ready", flush=True)
        await trio.sleep_forever()

trio.run(main)
"""
GIGABYTE = 1024 * 1024 * 1024


@pytest.mark.timeout(600)
def test_a_gigabyte_goes_through_in_constant_memory(tmp_path: Path) -> None:
    """1 GB with a length and 1 GB in chunks, to a slow consumer: the process stays small."""
    command = [sys.executable, "-c", SERVER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        try:
            for framing in ("length", "chunked"):
                total, peak_kb = _upload(str(tmp_path / "api.sock"), framing)
                assert total == GIGABYTE
                assert peak_kb < 200 * 1024  # of a gigabyte
        finally:
            server.terminate()


def _upload(path: str, framing: str) -> tuple[int, int]:
    block = bytes(1024 * 1024)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        if framing == "length":
            sock.sendall(b"POST / HTTP/1.1\r\nHost: d\r\nContent-Length: %d\r\n\r\n" % GIGABYTE)
            for _ in range(1024):
                sock.sendall(block)
        else:
            sock.sendall(b"POST / HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n")
            chunk = b"%x\r\n%b\r\n" % (len(block), block)
            for _ in range(1024):
                sock.sendall(chunk)
            sock.sendall(b"0\r\n\r\n")
        answer = b""
        while answer.count(b"\r\n\r\n") == 0 or not answer.partition(b"\r\n\r\n")[2]:
            answer += sock.recv(65536)
    total, peak_kb = answer.rpartition(b"\r\n")[2].split()
    return int(total), int(peak_kb)
