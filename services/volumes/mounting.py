"""Mounting what a volume's options name on its directory, by mount(8) without its helpers.

Source: moby, volume/local/local_unix.go: `type`, `device` and `o` go to mount as they stand; a
host name in `addr=` is resolved first, for the kernel takes addresses only.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import trio

from services.errors import EngineError

MOUNT_LIMIT_S: Final = 60.0  # a server that does not answer
UNMOUNT_LIMIT_S: Final = 20.0


async def mount(options: Mapping[str, str], target: Path) -> None:
    """Mount it.

    Raises:
        EngineError: mount refused, or the server did not answer in time.
    """
    words = await _resolved(options.get("o", ""))
    command = ["mount", "-i"]
    if kind := options.get("type", ""):
        command += ["-t", kind]
    if words:
        command += ["-o", words]
    device = options.get("device", "")
    await _run(
        [*command, "--", device, str(target)],
        MOUNT_LIMIT_S,
        f"error while mounting volume '{target}': failed to mount local volume: "
        f"mount {device.removeprefix(':')}:{target}",
    )


async def unmount(target: Path) -> None:
    """Unmount it; detached if somebody still holds it. Raises EngineError."""
    command = ["umount", "-i", "-l", "--", str(target)]
    await _run(command, UNMOUNT_LIMIT_S, f"error while unmounting volume '{target}'")


async def _run(command: list[str], limit_s: float, what: str) -> None:
    with trio.move_on_after(limit_s) as limit:
        ended = await trio.run_process(
            command,
            capture_stderr=True,
            stdout=subprocess.DEVNULL,
            stdin=b"",
            check=False,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
        )
    if limit.cancelled_caught:
        raise EngineError(f"{what}: no answer within {limit_s:g} s")
    if ended.returncode != 0:
        line = next(iter(ended.stderr.decode(errors="replace").splitlines()), "it failed")
        raise EngineError(f"{what}: {line.rpartition(': ')[2].rstrip('.').lower()}")


async def _resolved(words: str) -> str:
    """`addr=name` with the name's address."""
    parts = words.split(",") if words else []
    for at, part in enumerate(parts):
        name, separator, value = part.partition("=")
        if name == "addr" and separator:
            parts[at] = f"addr={await _address(value)}"
    return ",".join(parts)


async def _address(host: str) -> str:
    try:
        with trio.fail_after(MOUNT_LIMIT_S):
            found = await trio.socket.getaddrinfo(host, None)
    except (OSError, trio.TooSlowError) as error:
        raise EngineError(f"error resolving passed in network volume address: {host}") from error
    preferred = sorted(found, key=lambda entry: entry[0] != socket.AF_INET)
    return str(preferred[0][4][0])
