"""The end of a child process, waited for without reaping it."""

from __future__ import annotations

import os

import trio


async def wait_ended(pid: int) -> None:
    """Wait for the end of a child that nobody has waited for yet."""
    descriptor = os.pidfd_open(pid)
    try:
        await trio.lowlevel.wait_readable(descriptor)
    finally:
        os.close(descriptor)
