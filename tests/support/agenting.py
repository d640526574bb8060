"""The real daemon with a cluster's agent in its tree: `python -m tests.support.agenting DOOR ...`.

The managers are a script: what the test tells the door is what the agent is told, and what the
agent reports the door answers with. Requests beside those of `crashing`:
`{"do": "assign", "told": {...}}` (an `Assignments`), `{"do": "cut"}` and `{"do": "mend"}` the
session, `{"do": "reports"}` answers with the last status of each task, `{"do": "logs", ...}` with
what came of a subscription, `{"do": "leave"}` ends all tasks. With MANAGERS_CUT in the environment
there is no manager until the test mends that.
"""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import trio

from services import typed_json
from services.cluster.agent.build import AgentParts, build_agent
from services.cluster.dispatcher.values import (
    Assignments,
    AttachmentWish,
    LogMessage,
    LogRequest,
    LogStop,
    SessionFacts,
    SessionMessage,
    TaskUpdate,
)
from services.cluster.model.objects import (
    EngineDescription,
    NetworkAttachment,
    Node,
    NodeDescription,
    Task,
    TaskStatus,
)
from services.cluster.model.task_spec import NetworkAttachmentSpec, Platform, TaskSpec
from services.cluster.model.task_state import TaskState
from services.cluster.model.wire import utc_now
from services.cluster.network.face import NodeNetworks
from services.cluster.network.node_network import NodeNetwork
from services.errors import NotFound, Unavailable
from supervisor.__main__ import main
from supervisor.otp import ChildSpec, ChildType
from supervisor.parts import Parts
from tests.support.crashing import Door, install

NODE_ID = "n1"


class ScriptedManagers:
    """An `AssignmentSource` whose words are the test's; what is assigned stays so."""

    def __init__(self) -> None:
        self.is_cut = "MANAGERS_CUT" in os.environ
        # Managers give no id twice, and a node knows those of its earlier lives.
        self._life = f"-{os.getpid()}" if self.is_cut else ""
        self.sessions = 0
        self.told = Assignments(is_complete=True)
        self.reports: dict[str, TaskStatus] = {}
        self.history: list[tuple[str, str]] = []
        self.logs: dict[str, list[LogMessage]] = {}
        self.ended_logs: set[str] = set()
        self.description: NodeDescription | None = None
        self.wishes: list[AttachmentWish] = []
        self._open: list[ScriptedSession] = []

    @asynccontextmanager
    async def session(self, description: NodeDescription) -> AsyncIterator[ScriptedSession]:
        if self.is_cut:
            raise Unavailable("no manager answers")
        self.sessions += 1
        self.description = description
        session = ScriptedSession(self)
        now = utc_now()
        node = Node(id=NODE_ID, created_at=now, updated_at=now, data_path_addr="127.0.0.1")
        session.say(SessionFacts(session_id="s", cluster_id="c", node=node))
        session.say(self.told)
        self._open.append(session)
        try:
            yield session
        finally:
            self._open.remove(session)

    def say(self, message: SessionMessage) -> None:
        if isinstance(message, Assignments) and message.is_complete:
            self.told = message
        for session in self._open:
            session.say(message)

    def attach(self, wish: AttachmentWish) -> str:
        """What managers do about a container that was started by hand, in a moment."""
        for view in self.told.networks:
            if wish.network in (view.network.id, view.network.name):
                break
        else:
            raise NotFound(f"network {wish.network} not found")
        self.wishes.append(wish)
        task_id = f"guest{len(self.wishes)}{self._life}"
        prefix = view.network.subnets[0].subnet.rpartition(".")[0]
        address = wish.addresses[0] if wish.addresses else f"{prefix}.{100 + len(self.wishes)}"
        place = NetworkAttachment(network_id=view.network.id, addresses=[f"{address}/24"])
        task = Task(
            id=task_id,
            created_at=utc_now(),
            updated_at=utc_now(),
            node_id=NODE_ID,
            spec=TaskSpec(
                network_attachment_spec=NetworkAttachmentSpec(container_id=wish.container_id)
            ),
            status=TaskStatus(state=TaskState.ASSIGNED),
            desired_state=TaskState.RUNNING,
            networks=[place],
        )
        self.say(Assignments(tasks=(task,)))
        return task_id

    def cut(self) -> None:
        self.is_cut = True
        for session in self._open:
            session.cut()


class ScriptedSession:
    """One session of those managers."""

    def __init__(self, managers: ScriptedManagers) -> None:
        self._managers = managers
        self._send, self._receive = trio.open_memory_channel[SessionMessage](1000)

    def say(self, message: SessionMessage) -> None:
        self._send.send_nowait(message)

    def cut(self) -> None:
        self._send.close()

    async def receive(self) -> SessionMessage:
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            raise Unavailable("the session is lost") from None

    async def update_status(self, updates: Sequence[TaskUpdate]) -> None:
        await trio.lowlevel.checkpoint()
        if self._managers.is_cut:
            raise Unavailable("the session is lost")
        for update in updates:
            self._managers.reports[update.task_id] = update.status
            self._managers.history.append((update.task_id, update.status.state.wire))

    async def describe(self, description: NodeDescription) -> None:
        self._managers.description = description

    async def publish_logs(
        self, subscription_id: str, messages: Sequence[LogMessage], *, is_last: bool = False
    ) -> None:
        await trio.lowlevel.checkpoint()
        self._managers.logs.setdefault(subscription_id, []).extend(messages)
        if is_last:
            self._managers.ended_logs.add(subscription_id)

    async def attach(self, wish: AttachmentWish) -> str:
        await trio.lowlevel.checkpoint()
        return self._managers.attach(wish)


class AgentDoor(Door):
    """Adds the agent to the tree, last, so that it stops first."""

    def __init__(self, path: str) -> None:
        super().__init__(path, None)
        self._managers = ScriptedManagers()
        self._built: AgentParts | None = None

    async def run(self) -> None:
        """Serve, with the agent under way once the tree is up."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(super().run)
            while self.root is None or not self._is_up():
                await trio.sleep(0.02)
            await self._start_agent()

    def _is_up(self) -> bool:
        assert self.root is not None
        states = {node.path: node.state.value for node in self.root.tree(1).walk()}
        return states.get("root/reloads") == "running"

    async def _start_agent(self) -> None:
        assert self.root is not None
        assert self.parts is not None
        parts, settings = self.parts, self.parts.ground.current.settings()
        networking = _networking(parts)
        await self.root.start_child(ChildSpec(id="networking", start=networking.run))
        self._built = build_agent(
            source=self._managers,
            engine=parts.containers,
            images=parts.ground.images,
            registries=parts.ground.registry,
            added_mounts=parts.containers.added_mounts,
            networks=NodeNetworks(networking, node_id=NODE_ID, data_path_addr="127.0.0.1"),
            local_networks=parts.ground.net.networks,
            places=parts.restorer._sandboxes,
            describe=_describe,
            directory=settings.data_root / "agent",
            exec_root=Path(settings.exec_root),
        )
        await self.root.start_child(
            ChildSpec(id="agent", start=self._built.agent.run, type=ChildType.SUPERVISOR)
        )

    async def _answer(self, request: dict[str, Any]) -> object:
        managers = self._managers
        match request["do"]:
            case "assign":
                told = typed_json.decode(base64.b64decode(request["told"]), Assignments)
                managers.say(told)
            case "log":
                managers.say(typed_json.convert(request["request"], LogRequest))
            case "stop_log":
                managers.say(LogStop(subscription_id=request["id"]))
            case "logs":
                lines = [
                    [one.task_id, one.stream, one.data.decode()]
                    for one in managers.logs.get(request["id"], [])
                ]
                return {"lines": lines, "has_ended": request["id"] in managers.ended_logs}
            case "cut":
                managers.cut()
            case "mend":
                managers.is_cut = False
            case "reports":
                reports = msgspec.to_builtins(managers.reports)
                return {"last": reports, "history": managers.history}
            case "wishes":
                return msgspec.to_builtins(managers.wishes)
            case "leave":
                assert self._built is not None
                managers.say(Assignments(is_complete=True))
                while self._built.worker.runs:
                    await trio.sleep(0.02)
            case _:
                return await super()._answer(request)
        return {}


def _networking(parts: Parts) -> NodeNetwork:
    settings, sandboxes = parts.ground.current.settings(), parts.restorer._sandboxes
    return NodeNetwork(
        networks=parts.ground.net.networks,
        sandboxes=sandboxes,
        publisher=sandboxes._ports._publishing,
        names=parts.ground.dns.names,
        overlays=settings.exec_root / "overlays",
        record=settings.exec_root / "ingress.json",
        gateway_link=f"wg{settings.network.bridge[-6:]}",
    )


def _describe() -> NodeDescription:
    return NodeDescription(
        hostname="host1",
        platform=Platform(architecture="x86_64", os="linux"),
        engine=EngineDescription(engine_version="1"),
    )


if __name__ == "__main__":
    install(AgentDoor(sys.argv.pop(1)))
    main()
