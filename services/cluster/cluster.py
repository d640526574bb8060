"""This node's part in a cluster: begun, joined, left, locked, and what it is at the moment."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
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
    taken_in,
    write_takeover,
)
from services.cluster.errors import (
    ALREADY_IN_A_SWARM,
    IS_A_WORKER,
    JOIN_TIMEOUT,
    LEAVE_LOCKED,
    LOCKED,
    MANAGER_NOT_READY,
    NO_MANAGER,
    NOT_IN_A_SWARM,
    NOT_LOCKED,
    NotManager,
)
from services.cluster.info import SwarmInfo
from services.cluster.leaving import refusal_to_leave
from services.cluster.life import Life, LifeConfig, ManagerLife, WorkerLife
from services.cluster.local_state import LocalState
from services.cluster.model.wire import utc_now
from services.cluster.node_info import info_of
from services.cluster.phase import Phase, Step, after
from services.cluster.requests import InitRequest, JoinRequest
from services.errors import Conflict, EngineError, Unavailable, single_error

ARRIVE_LIMIT_S: Final = 20.0  # dockerd's: how long a client waits for init and join
STOP_LIMIT_S: Final = 30.0
RESIGN_LIMIT_S: Final = 3.0
DEMOTION_LIMIT_S: Final = 15.0
RETRY_S: Final = 1.0
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
        self._make_control = make_control
        self._phase = Phase.INACTIVE
        self._error = ""
        self._state: LocalState | None = None  # of a node that lives no life yet
        self._life: Life | None = None
        self._control: Control | None = None
        self._then: Callable[[], Awaitable[None]] | None = None  # after the life that ends
        self._scope = trio.CancelScope()  # of the life that is lived
        self._moved = trio.Event()  # whenever phase or life change
        self._idle = trio.Event()  # while no life is lived
        self._idle.set()
        self._is_loaded = trio.Event()
        self._turn = trio.Lock()

    # -- what it is

    @property
    def is_active(self) -> bool:
        """As `ClusterFace`'s."""
        return self._phase is not Phase.INACTIVE

    @property
    def role_word(self) -> str:
        """As `ClusterFace`'s."""
        if self._phase is not Phase.ACTIVE:
            return str(self._phase)
        return "active/manager" if isinstance(self._life, ManagerLife) else "active/worker"

    def control(self) -> Control:
        """As `ClusterFace`'s."""
        if self._phase is Phase.INACTIVE:
            raise NotManager(NO_MANAGER)
        if self._phase is Phase.LOCKED:
            raise NotManager(LOCKED)
        if isinstance(self._life, WorkerLife):
            raise NotManager(IS_A_WORKER)
        if self._phase is not Phase.ACTIVE or self._control is None:
            raise NotManager(MANAGER_NOT_READY)
        return self._control

    def info(self) -> SwarmInfo | None:
        """As `ClusterFace`'s."""
        if self._phase is Phase.INACTIVE:
            return None
        state = self._life.state if self._life is not None else self._state
        return info_of(self._phase, self._error, state, self._life, self._control is not None)

    # -- the child

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Live as what the disk says, and then as what is asked, until cancelled."""
        task_status.started()
        try:
            while True:
                if self._life is not None:
                    await self._live(self._life)
                elif not self._is_loaded.is_set():
                    await self._load()
                else:
                    self._idle.set()
                    await self._moved.wait()
        finally:
            # Begun anew, it reads what the disk says.
            if self._life is not None:
                self._life.close()
            self._life, self._then, self._control = None, None, None
            self._is_loaded = trio.Event()
            self._idle.set()

    async def _live(self, life: Life) -> None:
        self._idle = trio.Event()
        with single_error(), trio.CancelScope() as self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(life.run)
                nursery.start_soon(self._arrive, life)
                nursery.start_soon(self._follow_role, life)
        then, self._then = self._then, None
        if then is not None:
            life.close()
            await then()

    async def _arrive(self, life: Life) -> None:
        await life.wait_ready()
        if isinstance(life, ManagerLife):
            self._control = self._make_control(life)
        self._step(Step.ARRIVE)
        log.bind(node=life.state.node_id, role=self.role_word).info("the node is in its swarm")

    def _step(self, step: Step, error: str = "") -> None:
        self._phase = after(self._phase, step)
        self._error = error
        moved, self._moved = self._moved, trio.Event()
        moved.set()

    def _begin(self, life: Life, step: Step = Step.BEGIN) -> None:
        self._state = None
        self._control = None
        self._life = life
        self._step(step)

    async def _stop(self) -> None:
        """Block until no life is lived any more."""
        life, self._life, self._then, self._control = self._life, None, None, None
        self._scope.cancel()
        with trio.move_on_after(STOP_LIMIT_S):
            await self._idle.wait()
        if life is not None:
            life.close()

    async def _arrived(self) -> bool:
        """Whether the node has come to be part of its cluster within a client's patience."""
        with trio.move_on_after(ARRIVE_LIMIT_S):
            while self._phase is not Phase.ACTIVE:
                await self._moved.wait()
        return self._phase is Phase.ACTIVE

    # -- from disk

    async def _load(self) -> None:
        """Begin as what the disk says; tried again while that cannot be, an address is missing."""
        try:
            state = self._state or await self._disk.load()
            self._state = state
            if state is not None and await self._disk.is_locked(state):
                self._step(Step.FIND_LOCKED)
                log.info("the swarm is locked: a manager's key is needed")
            elif state is not None:
                await self._resume(state)
        except EngineError as error:
            self._step(Step.FAIL, str(error))
            log.bind(error=str(error)).error("the node cannot take its place in its swarm")
            self._is_loaded.set()
            await self._try_again_later()
            return
        self._is_loaded.set()

    async def _try_again_later(self) -> None:
        with trio.move_on_after(LOAD_AGAIN_S):
            await self._moved.wait()
        async with self._turn:
            if self._phase is Phase.ERROR and self._life is None:
                self._is_loaded = trio.Event()

    async def _resume(self, state: LocalState, unlock_key: str = "") -> None:
        entered = await self._disk.entered(state, unlock_key)
        if entered is None:
            raise EngineError("the node's certificate is missing; leave the swarm and join again")
        step = Step.UNLOCK if self._phase is Phase.LOCKED else Step.BEGIN
        self._begin(self._life_of(entered), step)

    def _life_of(self, entered: Entered, *, forces_new: bool = False) -> Life:
        """Raises EngineError when it cannot be lived here."""
        if entered.keys is None:
            return WorkerLife(self._config, entered.state, entered.credentials)
        return ManagerLife(
            self._config,
            entered.state,
            entered.credentials,
            data_key=entered.keys.data_key,
            unlock_key=entered.keys.unlock_key,
            forces_new=forces_new,
        )

    # -- into a cluster

    async def init(self, request: InitRequest) -> str:
        """As `ClusterFace`'s."""
        await self._is_loaded.wait()
        async with self._turn:
            if self._phase is not Phase.INACTIVE:
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
        life = self._life_of(entered)
        assert isinstance(life, ManagerLife)
        self._begin(life)
        with _in_time("the swarm could not be made"):
            await life.store.wait_ready()
            member_id = (await life.client.status()).member_id
            await life.store.commit(first_objects(new, member_id, utc_now()))
        await self._disk.save(state)
        await self._arrived()
        await life.wait_led()

    async def _force_new(self, request: InitRequest) -> str:
        """Go on alone with what this manager has."""
        old = self._life
        if self._phase is Phase.LOCKED:
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
        await self._stop()
        life = self._life_of(entered, forces_new=True)
        assert isinstance(life, ManagerLife)
        self._begin(life)
        with _in_time("the swarm could not be made of what this manager has"):
            await life.wait_ready()
            await write_takeover(life)
        await self._disk.save(state)
        await self._arrived()
        await life.wait_led()
        return state.node_id

    async def join(self, request: JoinRequest) -> None:
        """As `ClusterFace`'s."""
        await self._is_loaded.wait()
        async with self._turn:
            if self._phase is not Phase.INACTIVE:
                raise Unavailable(ALREADY_IN_A_SWARM)
            with _in_time("no manager has taken the node in"):
                entered = await joined(request)
            async with self._nothing_stays():
                await self._disk.wipe()
                await self._disk.save_keys(entered.credentials, entered.keys)
                life = self._life_of(entered)
                await self._disk.save(entered.state)
                self._begin(life)
        if not await self._arrived():
            raise Unavailable(JOIN_TIMEOUT)

    @asynccontextmanager
    async def _nothing_stays(self) -> AsyncIterator[None]:
        """Of what fails within the block, which was never acknowledged."""
        try:
            yield
        except BaseException:
            with trio.CancelScope(shield=True):
                await self._stop()
                await self._disk.wipe()
                if self._phase is not Phase.INACTIVE:
                    self._step(Step.LEAVE)
            raise

    # -- changes of role

    async def _follow_role(self, life: Life) -> None:
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
            self._then = lambda: self._become_worker(life)
        else:
            entered = await self._taken_in_at_last(life)
            self._then = lambda: self._become_manager(entered)
        self._scope.cancel()

    async def _become_worker(self, life: Life) -> None:
        state = await self._disk.save_worker(life.facts.state)
        credentials = life.keeper.credentials
        self._begin(
            self._life_of(Entered(state=state, credentials=credentials, keys=None)),
            Step.CHANGE_ROLE,
        )

    async def _become_manager(self, entered: Entered) -> None:
        await self._disk.save_manager(entered)
        self._begin(self._life_of(entered), Step.CHANGE_ROLE)

    async def _taken_in_at_last(self, life: Life) -> Entered:
        while True:
            try:
                return await taken_in(life.facts.state, life.keeper.credentials, life.remotes)
            except EngineError as error:
                log.bind(error=str(error)).warning("the managers have not taken the node in yet")
                await trio.sleep(RETRY_S)

    def was_removed(self) -> None:
        """The managers do not know this node any more."""
        if self._phase is Phase.ACTIVE:
            self._step(Step.FAIL, "the node was removed from the swarm; leave it to join again")

    # -- out of it, and locked

    async def leave(self, *, force: bool) -> None:
        """As `ClusterFace`'s."""
        await self._is_loaded.wait()
        async with self._turn:
            if self._phase is Phase.INACTIVE:
                raise Unavailable(NOT_IN_A_SWARM)
            if self._phase is Phase.LOCKED and not force:
                raise Unavailable(LEAVE_LOCKED)
            life = self._life
            if isinstance(life, ManagerLife) and self._control is not None:
                if not force:
                    raise Unavailable(refusal_to_leave(life.store.snapshot(), life.state.node_id))
                await _resign(life)
            await self._stop()
            await self._config.work.clear()
            await self._disk.wipe()
            self._state = None
            self._step(Step.LEAVE)
            log.info("the node has left its swarm")

    async def unlock(self, key: str) -> None:
        """As `ClusterFace`'s. Raises InvalidParameter for another key."""
        await self._is_loaded.wait()
        async with self._turn:
            if self._phase is not Phase.LOCKED or self._state is None:
                raise Conflict(NOT_LOCKED)
            await self._resume(self._state, key)
        await self._arrived()


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
