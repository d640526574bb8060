"""Mounting what a volume's options name on its directory, by mount(8) without its helpers.

Source: moby, volume/local/local_unix.go: `type`, `device` and `o` go to mount as they stand; of nfs
and cifs the host name in `addr=` is resolved first, of cifs without one that in the device, for the
kernel takes addresses only.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Mapping
from ipaddress import ip_address
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
    kind, words = options.get("type", ""), options.get("o", "")
    device, words = await resolved(kind, options.get("device", ""), words)
    command = ["mount", "-i"]
    if kind:
        command += ["-t", kind]
    if words:
        command += ["-o", words]
    await _run(
        [*command, "--", device, str(target)],
        MOUNT_LIMIT_S,
        f"error while mounting volume '{target}': failed to mount local volume: "
        f"mount {device.removeprefix(':')}:{target}",
        secret=_value_of(words, "password"),
    )


async def unmount(target: Path) -> None:
    """Unmount it; detached if somebody still holds it. Raises EngineError."""
    command = ["umount", "-i", "-l", "--", str(target)]
    await _run(command, UNMOUNT_LIMIT_S, f"error while unmounting volume '{target}'")


async def _run(command: list[str], limit_s: float, what: str, *, secret: str = "") -> None:
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
        if secret:
            line = line.replace(f"password={secret}", "password=********")
        raise EngineError(f"{what}: {line.rpartition(': ')[2].rstrip('.').lower()}")


async def resolved(kind: str, device: str, words: str) -> tuple[str, str]:
    """Device and options with an address where a server has a name.

    Raises:
        EngineError: nobody knows the name.
    """
    if kind not in ("nfs", "nfs4", "cifs"):
        return device, words
    if named := _value_of(words, "addr"):
        if not _is_address(named):
            words = words.replace(f"addr={named}", f"addr={await _address(named)}", 1)
    elif kind == "cifs" and device.startswith("//"):
        server, slash, share = device[2:].partition("/")
        if server and not _is_address(server):
            device = f"//{await _address(server)}{slash}{share}"
    return device, words


def _value_of(words: str, name: str) -> str:
    """Of an option in a comma list; "" without it."""
    for word in words.split(","):
        key, _, value = word.partition("=")
        if key == name:
            return value
    return ""


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


async def _address(host: str) -> str:
    try:
        with trio.fail_after(MOUNT_LIMIT_S):
            found = await trio.socket.getaddrinfo(host, None)
    except (OSError, trio.TooSlowError) as error:
        raise EngineError(f"error resolving passed in network volume address: {host}") from error
    preferred = sorted(found, key=lambda entry: entry[0] != socket.AF_INET)
    return str(preferred[0][4][0])
