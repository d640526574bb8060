"""A node's change of role: its certificate says it, and the node lives another life then."""

from __future__ import annotations

from typing import Final

import trio
from loguru import logger

from services.cluster.entering import Disk, Entered, life_of, taken_in
from services.cluster.life import Life, LifeConfig, ManagerLife
from services.cluster.lived import Lived
from services.cluster.phase import Step
from services.errors import EngineError

DEMOTION_LIMIT_S: Final = 15.0
RETRY_S: Final = 1.0

log = logger.bind(service="cluster")


class RoleChanges:
    """Ends the life that is lived when another role is due, and begins that one."""

    def __init__(self, lived: Lived, config: LifeConfig, disk: Disk) -> None:
        self._lived, self._config, self._disk = lived, config, disk

    async def follow(self, life: Life) -> None:
        """Block until the node's certificate says another role than it lives; then change."""
        while True:
            changed = life.keeper.changed
            is_manager = life.keeper.credentials.identity.role == "manager"
            if is_manager != isinstance(life, ManagerLife):
                break
            await changed.wait()
        if isinstance(life, ManagerLife):
            # The others take our member away: until then we may be needed for their quorum.
            with trio.move_on_after(DEMOTION_LIMIT_S):
                await life.member.was_removed.wait()
            self._lived.end_for(lambda: self._become_worker(life))
        else:
            entered = await _taken_in_at_last(life)
            self._lived.end_for(lambda: self._become_manager(entered))

    async def _become_worker(self, life: Life) -> None:
        state = await self._disk.save_worker(life.facts.state)
        entered = Entered(state=state, credentials=life.keeper.credentials, keys=None)
        self._lived.begin(life_of(self._config, entered), Step.CHANGE_ROLE)

    async def _become_manager(self, entered: Entered) -> None:
        await self._disk.save_manager(entered)
        self._lived.begin(life_of(self._config, entered), Step.CHANGE_ROLE)


async def _taken_in_at_last(life: Life) -> Entered:
    while True:
        try:
            return await taken_in(life.facts.state, life.keeper.credentials, life.remotes)
        except EngineError as error:
            log.bind(error=str(error)).warning("the managers have not taken the node in yet")
            await trio.sleep(RETRY_S)
