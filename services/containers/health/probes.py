"""Probes of health checks that an earlier engine did not see to their end.

A probe is an exec, and execs are known in memory only. So that a killed engine leaves no probe to
run for ever, the folder of a probe's pipes, which is there before its process, is named after it.
"""

from __future__ import annotations

from typing import Final

import trio
from loguru import logger

from services.containerd import Containerd
from services.containers.execs.kill import ExecKiller
from services.errors import EngineError, NotFound

log = logger.bind(service="containers")

LIMIT_S: Final = 10.0
ENDED_S: Final = 3.0
_PREFIX: Final = "probe"


def probe_folder(container_id: str, exec_id: str) -> str:
    """The name of the folder with a probe's pipes."""
    return f"{_PREFIX}.{container_id}.{exec_id}"


def parse_probe_folder(name: str) -> tuple[str, str] | None:
    """The ids of container and exec; None for the folder of something else."""
    prefix, _, rest = name.partition(".")
    container_id, _, exec_id = rest.partition(".")
    return (container_id, exec_id) if prefix == _PREFIX and container_id and exec_id else None


class OldProbes:
    """Kills what runs of them."""

    def __init__(self, containerd: Containerd) -> None:
        self._tasks = containerd.tasks
        self._killer = ExecKiller(containerd)

    async def kill(self, container_id: str, exec_id: str) -> None:
        """Kill a probe with all that it started; one that has ended, or never began, is fine."""
        with trio.move_on_after(LIMIT_S) as limit:
            try:
                probe = await self._tasks.get(container_id, exec_id)
                await self._killer.kill(container_id, exec_id, probe.pid)
                with trio.move_on_after(ENDED_S):
                    await self._tasks.wait(container_id, exec_id)
                await self._tasks.delete_process(container_id, exec_id)
            except NotFound:
                return
            except EngineError as error:
                log.warning("old probe not killed", container=container_id, error=str(error))
                return
            log.info("probe reclaimed", container=container_id)
        if limit.cancelled_caught:
            log.warning("old probe not killed in time", container=container_id)
