"""Our side of a helper process that runs nft scripts, one after the other."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Literal

import trio

from services.errors import EngineError
from services.networks.helpers.ahead import HelperAhead
from services.networks.helpers.child_end import wait_ended
from services.networks.helpers.process import started
from services.networks.nft import nft_process

START_LIMIT_S: Final = 90.0
"""A helper that cannot start ends, which is seen at once: this is for one that gets no turn."""
ANSWER_LIMIT_S: Final = 30.0
"""The first rule of each kind has the kernel load a module: seconds, on a busy machine."""
END_LIMIT_S: Final = 2.0
DEATH_LIMIT_S: Final = 0.5
_CRASHES: Final = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT)
_LARGEST_ANSWER: Final = nft_process.MOST_OUTPUT_BYTES + 1


class HelperLost(EngineError):
    """The helper has ended, or does not answer; what it was asked for may have been done."""


class Nft:
    """A helper that runs. Made by `running_helper`."""

    def __init__(self, stream: trio.SocketStream, process: subprocess.Popen[bytes]) -> None:
        self._stream = stream
        self._process = process
        self._turn = trio.Lock()
        self._is_broken = False

    async def ask(self, script: str) -> str:
        """Run a script, as one transaction; what it lists, cut off where it is far too much.

        Raises:
            HelperLost: no answer came.
            EngineError: nft refused it.
        """
        # A cancelled call must not leave its answer to the next one.
        with trio.CancelScope(shield=True):
            async with self._turn:
                data = script.encode()
                answer = await self._exchange(len(data).to_bytes(4, "big") + data)
        if answer[:1] != b"0":
            text = answer[1:].decode(errors="replace").strip().partition("\n")[0]
            raise EngineError(f"nft refused our rules: {text}")
        return answer[1:].decode(errors="replace")

    async def wait_ready(self) -> None:
        """Block until it can be asked. A slow machine delays it.

        Raises:
            HelperLost: it cannot start; libnftables may be missing.
        """
        try:
            with trio.fail_after(START_LIMIT_S):
                await self._message()
        except trio.TooSlowError:
            raise HelperLost(
                f"the firewall's helper has not started within {START_LIMIT_S:.0f} s"
            ) from None
        except (HelperLost, trio.BrokenResourceError) as error:
            raise HelperLost(
                "the firewall's helper does not start: is libnftables1 installed?"
            ) from error

    async def _exchange(self, message: bytes) -> bytes:
        if self._is_broken:
            raise HelperLost("the firewall's helper has ended")
        self._is_broken = True
        try:
            with trio.fail_after(ANSWER_LIMIT_S):
                await self._stream.send_all(message)
                answer = await self._message()
        except trio.TooSlowError:
            self._process.kill()  # it is started anew
            raise HelperLost("the firewall's helper does not answer") from None
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise await self._lost() from error
        self._is_broken = False
        return answer

    async def _lost(self) -> HelperLost:
        """What is to be said of its end, which its socket tells of first."""
        with trio.move_on_after(DEATH_LIMIT_S):
            if self._process.returncode is None:
                await wait_ended(self._process.pid)
        if -(self._process.poll() or 0) in _CRASHES:
            return HelperLost(
                "libnftables has crashed: there may be a table here that another version of "
                "nftables has written, which it cannot read"
            )
        return HelperLost("the firewall's helper has ended")

    async def _message(self) -> bytes:
        size = int.from_bytes(await self._exactly(4), "big")
        if not 0 < size <= _LARGEST_ANSWER:
            raise HelperLost(f"the firewall's helper answers nonsense: {size} bytes")
        return await self._exactly(size)

    async def _exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            part = await self._stream.receive_some(count - len(data))
            if not part:
                raise trio.BrokenResourceError("the helper has closed its end")
            data += part
        return bytes(data)


@asynccontextmanager
async def running_helper(
    where: Literal["", "apart", "inside"] = "",
    ahead: HelperAhead | None = None,
) -> AsyncIterator[tuple[Nft, subprocess.Popen[bytes]]]:
    """A helper process, ready; ended with the block. `where`: as `nft_process` has it.

    `ahead` may have started one for the host's own namespace.
    """
    words = [where] if where else []
    program = nft_process.__file__
    process: subprocess.Popen[bytes] | None = None
    try:
        async with started(program, socket.SOCK_STREAM, *words, ahead=ahead) as (control, process):
            helper = Nft(trio.SocketStream(control), process)
            await helper.wait_ready()
            yield helper, process
    finally:
        if process is not None:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(_end, process)


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(END_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
