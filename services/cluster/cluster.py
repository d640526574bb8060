"""This node's part in a cluster: begun, joined, left, locked, and what it is at the moment."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

import trio
from loguru import logger
from msgspec.structs import replace

from services.cluster.bootstrap import NewCluster, first_objects
from services.cluster.ca.sealing import new_data_key
from services.cluster.control.control import Control
from services.cluster.entering import (
    Disk,
    Entered,
    Keys,
    decided_addresses,
    founded,
    joined,
    life_of,
    write_takeover,
)
from services.cluster.errors import (
    ALREADY_IN_A_SWARM,
    IS_A_WORKER,
    JOIN_TIMEOUT,
    LEAVE_LOCKED,
    LOCKED,
    NO_MANAGER,
    NOT_IN_A_SWARM,
    NOT_LOCKED,
    NotManager,
)
from services.cluster.info import SwarmInfo
from services.cluster.leaving import refusal_to_leave
from services.cluster.life import LifeConfig, ManagerLife, WorkerLife
from services.cluster.lived import ARRIVE_LIMIT_S, Lived
from services.cluster.local_state import LocalState
from services.cluster.model.wire import utc_now
from services.cluster.phase import Phase, Step
from services.cluster.requests import InitRequest, JoinRequest
from services.cluster.role_changes import RoleChanges
from services.errors import Conflict, EngineError, Unavailable

RESIGN_LIMIT_S: Final = 3.0
LOAD_AGAIN_S: Final = 5.0

log = logger.bind(service="cluster")


class Cluster:
    """`run` is a supervised child; the other calls are the API's `ClusterFace`.

    One life is lived at a time. Whoever changes it ends the present one and says what follows.
    """

    def __init__(
        self, config: LifeConfig, disk: Disk, *, make_control: Callable[[ManagerLife], Control]
    ) -> None:
        self._config = config
        self._disk = disk
        self._lived = Lived(make_control=make_control)
        self._roles = RoleChanges(self._lived, config, disk)
        self._is_loaded = trio.Event()
        self._turn = trio.Lock()

    # -- what it is

    @property
    def is_active(self) -> bool:
        """As `ClusterFace`'s."""
        return self._lived.phase is not Phase.INACTIVE

    @property
    def role_word(self) -> str:
        """As `ClusterFace`'s."""
        return self._lived.role_word

    def control(self) -> Control:
        """As `ClusterFace`'s."""
        return self._lived.control()

    def info(self) -> SwarmInfo | None:
        """As `ClusterFace`'s."""
        return self._lived.info()

    # -- the child

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Live as what the disk says, and then as what is asked, until cancelled."""
        task_status.started()
        try:
            while True:
                if self._lived.life is not None:
                    await self._lived.live(self._lived.life, self._roles.follow)
                elif not self._is_loaded.is_set():
                    await self._load()
                else:
                    await self._lived.wait_begun()
        finally:
            # Begun anew, it reads what the disk says.
            self._lived.forget()
            self._is_loaded = trio.Event()

    # -- from disk

    async def _load(self) -> None:
        """Begin as what the disk says; tried again while that cannot be, an address is missing."""
        try:
            state = self._lived.state or await self._disk.load()
            self._lived.state = state
            if state is not None and await self._disk.is_locked(state):
                self._lived.step(Step.FIND_LOCKED)
                log.info("the swarm is locked: a manager's key is needed")
            elif state is not None:
                await self._resume(state)
        except EngineError as error:
            self._lived.step(Step.FAIL, str(error))
            log.bind(error=str(error)).error("the node cannot take its place in its swarm")
            self._is_loaded.set()
            await self._try_again_later()
            return
        self._is_loaded.set()

    async def _try_again_later(self) -> None:
        with trio.move_on_after(LOAD_AGAIN_S):
            await self._lived.wait_moved()
        async with self._turn:
            if self._lived.phase is Phase.ERROR and self._lived.life is None:
                self._is_loaded = trio.Event()

    async def _resume(self, state: LocalState, unlock_key: str = "") -> None:
        entered = await self._disk.entered(state, unlock_key)
        if entered is None:
            raise EngineError("the node's certificate is missing; leave the swarm and join again")
        step = Step.UNLOCK if self._lived.phase is Phase.LOCKED else Step.BEGIN
        self._lived.begin(life_of(self._config, entered), step)

    # -- into a cluster

    async def init(self, request: InitRequest) -> str:
        """As `ClusterFace`'s."""
        await self._is_loaded.wait()
        async with self._turn:
            if self._lived.phase is not Phase.INACTIVE:
                if not request.force_new_cluster:
                    raise Unavailable(ALREADY_IN_A_SWARM)
                return await self._force_new(request)
            new, state = await founded(request)
            async with self._nothing_stays():
                await self._found(new, state)
            return new.node.id

    async def _found(self, new: NewCluster, state: LocalState) -> None:
        """Returns once the cluster is on disk, and can be asked."""
        keys = Keys(data_key=new_data_key(), unlock_key=new.cluster.unlock_key)
        entered = Entered(state=state, credentials=new.credentials, keys=keys)
        await self._disk.wipe()
        await self._disk.save_keys(new.credentials, keys)
        life = life_of(self._config, entered)
        assert isinstance(life, ManagerLife)
        self._lived.begin(life)
        with _in_time("the swarm could not be made"):
            await life.store.wait_ready()
            member_id = (await life.client.status()).member_id
            await life.store.commit(first_objects(new, member_id, utc_now()))
        await life.facts.write()
        await self._lived.has_arrived()
        await life.wait_led()

    async def _force_new(self, request: InitRequest) -> str:
        """Go on alone with what this manager has."""
        old = self._lived.life
        if self._lived.phase is Phase.LOCKED:
            raise Unavailable(LOCKED)
        if not isinstance(old, ManagerLife):
            raise NotManager(IS_A_WORKER if isinstance(old, WorkerLife) else NO_MANAGER)
        state = replace(old.facts.state, members={})
        if request.advertise_addr:
            addresses = await decided_addresses(request)
            state = replace(
                state, advertise_addr=addresses.advertise, data_path_addr=addresses.data_path
            )
        state = replace(state, remotes=(state.advertise_addr,))
        entered = Entered(
            state=state,
            credentials=old.keeper.credentials,
            keys=Keys(data_key=old.data_key, unlock_key=old.unlock_key),
        )
        await self._lived.stop()
        life = life_of(self._config, entered, forces_new=True)
        assert isinstance(life, ManagerLife)
        self._lived.begin(life)
        with _in_time("the swarm could not be made of what this manager has"):
            await life.wait_ready()
            await write_takeover(life)
        await life.facts.write()
        await self._lived.has_arrived()
        await life.wait_led()
        return state.node_id

    async def join(self, request: JoinRequest) -> None:
        """As `ClusterFace`'s."""
        await self._is_loaded.wait()
        async with self._turn:
            if self._lived.phase is not Phase.INACTIVE:
                raise Unavailable(ALREADY_IN_A_SWARM)
            with _in_time("no manager has taken the node in"):
                entered = await joined(request)
            async with self._nothing_stays():
                await self._disk.wipe()
                await self._disk.save_keys(entered.credentials, entered.keys)
                life = life_of(self._config, entered)
                await self._disk.save(entered.state)
                self._lived.begin(life)
        if not await self._lived.has_arrived():
            raise Unavailable(JOIN_TIMEOUT)

    @asynccontextmanager
    async def _nothing_stays(self) -> AsyncIterator[None]:
        """Of what fails within the block, which was never acknowledged."""
        try:
            yield
        except BaseException:
            with trio.CancelScope(shield=True):
                await self._lived.stop()
                await self._disk.wipe()
                if self._lived.phase is not Phase.INACTIVE:
                    self._lived.step(Step.LEAVE)
            raise

    def was_removed(self) -> None:
        """The managers do not know this node any more."""
        if self._lived.phase is Phase.ACTIVE:
            self._lived.step(
                Step.FAIL, "the node was removed from the swarm; leave it to join again"
            )

    # -- out of it, and locked

    async def leave(self, *, force: bool) -> None:
        """As `ClusterFace`'s."""
        await self._is_loaded.wait()
        async with self._turn:
            if self._lived.phase is Phase.INACTIVE:
                raise Unavailable(NOT_IN_A_SWARM)
            if self._lived.phase is Phase.LOCKED and not force:
                raise Unavailable(LEAVE_LOCKED)
            life = self._lived.life
            if isinstance(life, ManagerLife) and self._lived.has_control:
                if not force:
                    raise Unavailable(refusal_to_leave(life.store.snapshot(), life.state.node_id))
                await _resign(life)
            await self._lived.stop()
            await self._config.work.clear()
            await self._disk.wipe()
            self._lived.state = None
            self._lived.step(Step.LEAVE)
            log.info("the node has left its swarm")

    async def unlock(self, key: str) -> None:
        """As `ClusterFace`'s. Raises InvalidParameter for another key."""
        await self._is_loaded.wait()
        async with self._turn:
            if self._lived.phase is not Phase.LOCKED or self._lived.state is None:
                raise Conflict(NOT_LOCKED)
            await self._resume(self._lived.state, key)
        await self._lived.has_arrived()


async def _resign(life: ManagerLife) -> None:
    """Managers that stay are not to count on this one's vote."""
    with trio.move_on_after(RESIGN_LIMIT_S), suppress(EngineError):
        if len(await life.client.members()) > 1:
            await life.client.remove((await life.client.status()).member_id)


@contextmanager
def _in_time(what: str) -> Iterator[None]:
    """Raises Unavailable when the block takes longer than a client waits."""
    try:
        with trio.fail_after(ARRIVE_LIMIT_S):
            yield
    except trio.TooSlowError as error:
        raise Unavailable(f"{what} in {ARRIVE_LIMIT_S:g} s") from error
