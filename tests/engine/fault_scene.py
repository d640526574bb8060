"""What a daemon may find at its start, all at once: containers in all states of a crash."""

from __future__ import annotations

import http.client
import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress

from tests.engine.fault_checks import actions, misordered, wait_true
from tests.engine.fault_operations import AGAIN, BRIDGE, Scene, kernel_pids_limit, stop
from tests.engine.many import EXIT_7, wait_gone
from tests.support.crashable import FaultableDaemon
from tests.support.faults import FaultPoint

HALF_MADE = "f" * 64
"""An id that no row names, and that has a folder, pipes and the place for a namespace."""


class Wreck:
    """Makes the containers, has the daemon die, and knows what must become of them."""

    def __init__(self, daemon: FaultableDaemon, name: str) -> None:
        def scene(kind: str, **host: object) -> Scene:
            return Scene(daemon, f"{name}-{kind}", EXIT_7, host=host)

        self._daemon = daemon
        self._runs = scene("runs", **BRIDGE)
        self._execs = scene("execs")
        self._ends = scene("ends", **BRIDGE)
        self._ends_rm = scene("ends-rm", AutoRemove=True)
        self._comes_back = scene("comes-back", **BRIDGE, **AGAIN)
        self._stopped = scene("stopped", **AGAIN)
        self._removing = scene("removing")
        self._dead = scene("dead")
        self._updated = scene("updated")
        self._starting = scene("starting", **BRIDGE)

    @property
    def _running(self) -> Iterator[Scene]:
        yield from (self._runs, self._execs, self._ends, self._ends_rm, self._comes_back)
        yield from (self._stopped, self._updated)

    def make(self) -> None:
        """All of it; afterwards the daemon is dead, and some of its containers with it."""
        for scene in self._running:
            scene.run()
        for scene in (self._removing, self._dead, self._starting):
            scene.create()
        stop(self._stopped)
        self._leave_exec()
        self._die(self._starting, "after containerd tasks.Start #1")
        for scene in (self._ends, self._ends_rm, self._comes_back):
            os.kill(scene.pid, signal.SIGTERM)
            wait_gone(scene.pid)
        self._edit_rows()
        (self._daemon.data_root / "containers" / HALF_MADE).mkdir()
        (self._daemon.exec_root / "io" / HALF_MADE).mkdir()
        (self._daemon.exec_root / "netns" / HALF_MADE).touch()  # before its mount

    def check(self) -> None:
        """Everything has become what it had to; then clear it away."""
        daemon = self._daemon
        self._comes_back.wait_status("running")
        self._ends.wait_status("exited")
        self._ends_rm.wait_status("")
        wait_true(daemon, "the next daemon knows the truth")
        for scene in (self._runs, self._execs, self._updated):
            scene.must_be("running")
            assert scene.state()["Pid"] == scene.pid
        self._starting.must_be("running")
        self._comes_back.must_be("running")
        self._ends.must_be("exited", 7)
        self._stopped.must_be("exited", 7)
        assert self._updated.inspect()["HostConfig"]["PidsLimit"] == 77
        assert kernel_pids_limit(self._updated.pid) == "77"
        for scene in (self._removing, self._dead, self._ends_rm):
            assert scene.status == "", scene.name
        self._check_stories()
        daemon.remove_containers()
        wait_true(daemon, "nothing is left")
        self._check_stories()

    def _check_stories(self) -> None:
        for scene in (*self._running, self._starting, self._removing, self._dead):
            told = actions(self._daemon, scene.name, scene.since)
            assert (wrong := misordered(told, scene.status)) is None, (scene.name, wrong)
        assert actions(self._daemon, self._updated.name, self._updated.since).count("update") == 1

    def _leave_exec(self) -> None:
        body = {"Cmd": ["sleep", "1000"], "AttachStdout": True, "AttachStderr": True}
        found = self._execs.ask("POST", "/*/exec", (201,), body).json()
        self._execs.ask("POST", f"/exec/{found['Id']}/start", (200,), {"Detach": True})

    def _die(self, scene: Scene, point: str) -> None:
        self._daemon.arm(FaultPoint.parse(point))
        with suppress(OSError, http.client.HTTPException):
            scene.start()
        assert self._daemon.process is not None
        self._daemon.process.wait(90)

    def _edit_rows(self) -> None:
        """What a daemon leaves that dies in a removal, after a failed one, and in an update."""
        edits = (
            ("json_set(CAST(status AS TEXT), '$.state', 'removing')", self._removing),
            ("json_set(CAST(status AS TEXT), '$.state', 'dead')", self._dead),
            (
                "json_set(CAST(status AS TEXT), '$.updating', json_set("
                "json_extract(CAST(definition AS TEXT), '$.host_config'), '$.PidsLimit', 77))",
                self._updated,
            ),
        )
        with closing(sqlite3.connect(self._daemon.data_root / "wharfinger.db")) as db, db:
            for value, scene in edits:
                done = db.execute(
                    f"UPDATE containers SET status = CAST({value} AS BLOB) WHERE name = ?",
                    (scene.name,),
                )
                assert done.rowcount == 1
