"""Tag Exec of the Engine API."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import trio
from msgspec.structs import replace
from quart import Blueprint

from services.api.front.fast import FastRoutes
from services.api.http.asgi import Scope
from services.api.http.hijack import MULTIPLEXED_STREAM, RAW_STREAM, HijackedStream
from services.api.routes.container_streams import MULTIPLEXED_SINCE
from services.api.routes.containers import terminal_size, without_body
from services.api.versions.version import ApiVersion
from services.api.wire.json_bodies import encode, read_json
from services.api.wire.request import current_request, outlives_client
from services.api.wire.responses import EngineResponse, HijackResponse
from services.containers import Containers, Exec, ExecConfig
from services.containers.attach import serve_attach
from services.containers.config import Wire
from services.containers.stdio import AttachedStreams, Stream
from services.containers.stdio.detach import parse_detach_keys
from services.containers.stdio.streams import frame_header
from services.errors import EngineError, InvalidParameter, NotFound


class ExecStartBody(Wire, frozen=True, kw_only=True):
    """Schema ExecStartConfig."""

    detach: bool = False
    tty: bool = False
    console_size: tuple[int, int] | None = None


class ExecRoutes:
    """Further processes in running containers."""

    def __init__(self, containers: Containers) -> None:
        self._containers = containers

    def blueprint(self) -> Blueprint:
        """The routes, without version prefix."""
        blueprint = Blueprint("exec", __name__)
        for rule, view, method in (
            ("/containers/<path:ref>/exec", outlives_client(self.create), "POST"),
            ("/exec/<path:exec_id>/start", self.start, "POST"),
            ("/exec/<path:exec_id>/resize", self.resize, "POST"),
            ("/exec/<path:exec_id>/json", self.inspect, "GET"),
        ):
            blueprint.add_url_rule(rule, view.__name__, view, methods=[method])
        return blueprint

    def add_fast(self, fast: FastRoutes) -> None:
        """What needs no waiting, answered before quart is asked."""
        fast.add_item("GET", "exec", "json", self._inspect_at_once)

    def _inspect_at_once(self, _scope: Scope, _version: ApiVersion, exec_id: str) -> bytes | None:
        try:
            return encode(exec_to_wire(self._containers.execs.find(exec_id)))
        except NotFound:
            return None

    async def create(self, ref: str) -> EngineResponse:
        """POST /containers/{id}/exec (ContainerExec)."""
        config = await read_json(ExecConfig)
        if config is None or not config.cmd:
            raise InvalidParameter("No exec command specified")
        container = self._containers.find(ref)
        parse_detach_keys(config.detach_keys)
        exec_ = await self._containers.create_exec(container, config)
        return EngineResponse(encode({"Id": exec_.id}), 201)

    async def start(self, exec_id: str) -> EngineResponse:
        """POST /exec/{id}/start (ExecStart)."""
        exec_ = self._containers.execs.find(exec_id)
        body = await read_json(ExecStartBody) or ExecStartBody()
        self._containers.execs.check_startable(exec_)
        if body.console_size:
            exec_.config = replace(exec_.config, console_size=body.console_size)
        if body.detach:
            current_request().ignore_hang_up()
            await self._containers.execs.start(exec_)
            return without_body(200)
        return self._hijacked(exec_)

    async def resize(self, exec_id: str) -> EngineResponse:
        """POST /exec/{id}/resize (ExecResize)."""
        height, width = terminal_size(current_request().query)
        exec_ = self._containers.execs.find(exec_id)
        await self._containers.execs.resize(exec_, width=width, height=height)
        return without_body(200)

    async def inspect(self, exec_id: str) -> EngineResponse:
        """GET /exec/{id}/json (ExecInspect)."""
        return EngineResponse(encode(exec_to_wire(self._containers.execs.find(exec_id))))

    def _hijacked(self, exec_: Exec) -> HijackResponse:
        config = exec_.config
        is_framed = not config.tty and current_request().api_version >= MULTIPLEXED_SINCE

        async def serve(streams: AttachedStreams, peer: HijackedStream) -> None:
            try:
                # A client that leaves now leaves a process behind, as under dockerd.
                with trio.CancelScope(shield=True):
                    await self._containers.execs.start(exec_)
            except EngineError as error:
                # The head has left: the stream is the only way to tell, and dockerd uses it too.
                text = f"{error}\r\n".encode()
                head = b"" if config.tty else frame_header(Stream.STDOUT, len(text))
                await peer.send_all(head + text)
                return
            await serve_attach(
                streams,
                peer,
                multiplexed=not config.tty,
                detach_keys=parse_detach_keys(config.detach_keys),
                stdin=config.attach_stdin,
                settled=exec_.ended.wait,
            )

        session = exec_.stdio.attach(
            stdin=config.attach_stdin, stdout=config.attach_stdout, stderr=config.attach_stderr
        )
        return HijackResponse(
            serve, session=session, content_type=MULTIPLEXED_STREAM if is_framed else RAW_STREAM
        )


def exec_to_wire(exec_: Exec) -> dict[str, Any]:
    """Schema ExecInspectResponse."""
    config = exec_.config
    entrypoint, *arguments = config.cmd or [""]
    keys = parse_detach_keys(config.detach_keys) if config.detach_keys else b""
    return {
        "CanRemove": False,  # dockerd's mark for its own sweep; ours needs none
        "ContainerID": exec_.container.id,
        "DetachKeys": b64encode(keys).decode(),  # Go's JSON of bytes
        "ExitCode": exec_.exit_code,
        "ID": exec_.id,
        "OpenStderr": config.attach_stderr,
        "OpenStdin": config.attach_stdin,
        "OpenStdout": config.attach_stdout,
        "Pid": exec_.pid,
        "ProcessConfig": {
            "arguments": arguments,
            "entrypoint": entrypoint,
            "privileged": config.privileged,
            "tty": config.tty,
            **({"user": config.user} if config.user else {}),
        },
        "Running": exec_.is_running,
    }
