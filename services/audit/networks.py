"""Checks of networks: the links of containers in our bridges, and the bridges themselves."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Final

import trio

from services.audit.findings import Finding
from services.errors import EngineError
from services.networks.endpoints import HOST_LINK_PREFIX

LIST_LIMIT_S: Final = 10.0


class LinkCheck:
    """Each end of a container's link in a bridge of ours belongs to a container that is there."""

    kind = "links"

    def __init__(
        self,
        *,
        bridges: Callable[[], Set[str]],
        wanted: Callable[[], Mapping[str, str]],
        disk: trio.CapacityLimiter,
    ) -> None:
        """`bridges` are ours, by link; `wanted` the links in them, with whose each one is."""
        self._bridges, self._wanted, self._disk = bridges, wanted, disk

    async def look(self) -> Sequence[Finding]:
        """See `Check`."""
        there = await trio.to_thread.run_sync(_links, limiter=self._disk)
        bridges, wanted = self._bridges(), self._wanted()
        return [
            *(
                _link(name, f"it is in {master}, and no container's")
                for name, master in there.items()
                if master in bridges and name.startswith(HOST_LINK_PREFIX) and name not in wanted
            ),
            *(
                _link(name, f"the link of container {whose} is gone")
                for name, whose in wanted.items()
                if name not in there
            ),
            *(_link(name, "the bridge of a network is gone") for name in bridges - there.keys()),
        ]


def _links() -> dict[str, str]:
    """The host's links, with the bridge that each one is in, if it is in one. Blocks.

    Raises:
        EngineError: ip(8) says no.
    """
    done = subprocess.run(
        ["ip", "-j", "link", "show"],
        capture_output=True,
        timeout=LIST_LIMIT_S,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        raise EngineError(f"ip link show: {done.stderr.decode(errors='replace').strip()}")
    return {link["ifname"]: link.get("master", "") for link in json.loads(done.stdout or "[]")}


def _link(subject: str, text: str) -> Finding:
    return Finding(kind="links", subject=subject, text=text)
