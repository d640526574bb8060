"""Containers that are to be started after a start of the daemon: which, and in what order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import trio
from loguru import logger

from services.containers.container import Container
from services.containers.model import State
from services.containers.needs import Needs
from services.containers.runs.restart_policy import starts_with_daemon, wants_restart
from services.containers.table import ContainerTable
from services.errors import EngineError

log = logger.bind(service="containers")

STARTS_AT_ONCE: Final = 16
NEEDED_LIMIT_S: Final = 30.0
"""How long a start waits for those of other containers that it needs; they may need each other."""


def is_due(container: Container, *, at_start: bool) -> bool:
    """Whether its restart policy wants one that rests now. At the daemon's start it wants more."""
    status = container.status
    wanted = starts_with_daemon if at_start else wants_restart
    return (
        container.state is State.EXITED
        and status.started_at_ns > 0
        and (
            (at_start and bool(status.stopped_for))
            or wanted(
                container.definition.host_config.restart_policy,
                exit_code=status.failure_code(status.exit_code),
                restart_count=status.restart_count,
                stopped_by_user=status.stopped_by_user,
            )
        )
    )


async def start_due(
    due: Sequence[Container],
    table: ContainerTable,
    start: Callable[[Container], Awaitable[None]],
) -> None:
    """Start each one after those that it needs, if these are started as well."""
    needs = Needs(table)
    limit = trio.CapacityLimiter(STARTS_AT_ONCE)
    tried: dict[str, trio.Event] = {container.id: trio.Event() for container in due}
    waited_for = {one.id: [tried[i] for i in needs.of(one) if i in tried] for one in due}

    async def start_one(container: Container) -> None:
        with trio.move_on_after(NEEDED_LIMIT_S):
            for needed in waited_for[container.id]:
                await needed.wait()
        async with limit:
            try:
                await start(container)
            except EngineError as error:
                log.error("container not started again", container=container.id, error=str(error))
        tried[container.id].set()

    async with trio.open_nursery() as nursery:
        for container in due:
            nursery.start_soon(start_one, container)
