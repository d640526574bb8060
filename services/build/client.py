"""What a build asks its client for while it runs, where there is a session by which it can."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol


class BuildClient(Protocol):
    """Who builds."""

    async def secret(self, id_: str) -> bytes | None:
        """The secret of that name; None if the client has none. Never printed."""

    def ssh_agent(self, id_: str, path: Path) -> AbstractAsyncContextManager[bool]:
        """A socket at `path` that leads to the client's agent while the block lasts; whether there
        is an agent of that name."""
