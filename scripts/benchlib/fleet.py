"""A machine full of containers: some that run, thousands that have ended; and a start over them.

What has ended is written by the engine's own store and journal: by the API it would take minutes.
"""

from __future__ import annotations

import json
import secrets
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import trio

from services.containers.container import Container
from services.containers.journal import MIGRATIONS, Journal
from services.containers.model import ContainerId, State
from services.events import MIGRATION, EventBus
from services.store import Store

from .bench import CREATE_BODY
from .engines import Engine, EngineFailed

RESTORED: Final = b"containers restored"
RESTORED_LIMIT_S: Final = 60.0
BODY: Final = {**CREATE_BODY, "Cmd": ["sleep", "1"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How long a start over them took, from the process's start."""

    answers_s: float  # until a list of all is answered
    restored_s: float  # until each was compared with containerd, and adopted if it runs


@contextmanager
def fleet(engine: Engine, *, running: int, stopped: int) -> Iterator[None]:
    """Containers that outlive the engine within the block; none are left after it."""
    configuration = engine.folder / "daemon.json"
    before = configuration.read_text()
    configuration.write_text(json.dumps({"live-restore": True}))
    try:
        engine.stop()
        engine.start_timed()
        _run(engine, running)
        model = _one_that_has_ended(engine)
        engine.stop()
        trio.run(_copy, engine.folder / "data", model, stopped)
        engine.start_timed()
        yield
    finally:
        engine.remove_containers()
        configuration.write_text(before)


def start_over(engine: Engine) -> Start:
    """Stop the engine, which leaves the containers, and start it again."""
    engine.stop()
    log = engine.folder / "log"
    seen = log.stat().st_size
    began = time.perf_counter()
    engine.start_timed()
    with engine.connect() as connection:
        connection.call("GET", "/containers/json?all=1")
    answers_s = time.perf_counter() - began
    while RESTORED not in log.read_bytes()[seen:]:
        if time.perf_counter() - began > RESTORED_LIMIT_S:
            raise EngineFailed("the containers are not restored")
        time.sleep(0.005)
    return Start(answers_s=answers_s, restored_s=time.perf_counter() - began)


def _run(engine: Engine, count: int) -> None:
    def one(_: int) -> None:
        with engine.connect() as connection:
            made = connection.call("POST", "/containers/create", CREATE_BODY)["Id"]
            connection.call("POST", f"/containers/{made}/start")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, range(count)))


def _one_that_has_ended(engine: Engine) -> str:
    with engine.connect() as connection:
        made: str = connection.call("POST", "/containers/create", BODY)["Id"]
        connection.call("POST", f"/containers/{made}/start")
        connection.call("POST", f"/containers/{made}/wait")
    return made


async def _copy(data_root: Path, model: str, count: int) -> None:
    """More containers like `model`, each with a row, a name and files of its own."""
    store = Store(data_root / "wharfinger.db", migrations=(MIGRATION, *MIGRATIONS))
    journal = Journal(store=store, events=EventBus(store))
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        (one,) = [found for found in await journal.load() if found.id == model]
        assert one.status.state is State.EXITED
        for number in range(count):
            container_id = secrets.token_hex(32)
            definition = msgspec.structs.replace(
                one.definition, id=ContainerId(container_id), name=f"ended-{number}"
            )
            folder = data_root / "containers"
            shutil.copytree(folder / model, folder / container_id)
            await journal.insert(Container(definition, one.status))
        nursery.cancel_scope.cancel()
