"""The client's side of BuildKit's protocol, as buildx speaks it: a session that the engine asks,
and calls that it answers. Recorded from buildx 0.13 against dockerd 20.10.

The order is buildx's: Control.Solve with the exporter, Status, POST /session, LLBBridge.Ping,
LLBBridge.Solve with the front end's attributes, LLBBridge.Return.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import stat
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grpclib.client import Channel
from grpclib.const import Cardinality, Handler, Status
from grpclib.encoding.base import StatusDetailsCodecBase
from grpclib.encoding.proto import ProtoCodec
from grpclib.exceptions import GRPCError
from grpclib.protocol import H2Protocol
from grpclib.server import Server

from protos.generated.fsutil.types import Packet, PacketPacketType, Stat
from protos.generated.moby.buildkit.secrets.v1 import GetSecretRequest, GetSecretResponse
from protos.generated.moby.buildkit.v1 import (
    Exporter,
    SolveRequest,
    SolveResponse,
    StatusRequest,
    StatusResponse,
    Vertex,
)
from protos.generated.moby.buildkit.v1 import frontend as gateway
from protos.generated.moby.filesync.v1 import CredentialsRequest, CredentialsResponse

LIMIT_S = 90.0
PIECE_BYTES = 32 * 1024

_DIRECTORY, _SYMLINK = 1 << 31, 1 << 27  # Go's os.FileMode


@dataclass(kw_only=True)
class Offer:
    """What a client has. `stats` replace the description of the directory `context`."""

    directories: Mapping[str, Path] = field(default_factory=dict)
    secrets: Mapping[str, bytes] = field(default_factory=dict)
    credentials: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    stats: Sequence[Stat] | None = None
    asked: list[str] = field(default_factory=list)  # which calls the engine has made, in order


@dataclass(kw_only=True)
class Built:
    """How a build ended: `answer` is the exporter's, `error` why there is none."""

    answer: Mapping[str, str]
    error: GRPCError | None
    statuses: list[StatusResponse]

    @property
    def vertexes(self) -> dict[str, Vertex]:
        """The last that was told of each step, by its name."""
        return {one.name: one for batch in self.statuses for one in batch.vertexes}

    @property
    def output(self) -> str:
        """What all steps have printed."""
        logs = [one.msg for batch in self.statuses for one in batch.logs]
        return b"".join(logs).decode()


class _Details(StatusDetailsCodecBase):
    def encode(self, status: Status, message: str | None, details: Any) -> bytes:
        raise NotImplementedError

    def decode(self, status: Status, message: str | None, data: bytes) -> Any:
        return gateway.Failure.parse(data).details


class _Channel(Channel):
    connection: socket.socket

    async def _create_connection(self) -> H2Protocol:
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(self._protocol_factory, sock=self.connection)
        return protocol


class _Services:
    """What the client answers."""

    def __init__(self, offer: Offer) -> None:
        self._offer = offer

    def __mapping__(self) -> dict[str, Handler]:
        return {
            "/moby.filesync.v1.FileSync/DiffCopy": Handler(
                self.diff_copy, Cardinality.STREAM_STREAM, Packet, Packet
            ),
            "/moby.filesync.v1.Auth/Credentials": Handler(
                self.credentials, Cardinality.UNARY_UNARY, CredentialsRequest, CredentialsResponse
            ),
            "/moby.buildkit.secrets.v1.Secrets/GetSecret": Handler(
                self.secret, Cardinality.UNARY_UNARY, GetSecretRequest, GetSecretResponse
            ),
        }

    async def credentials(self, stream: Any) -> None:
        request = await stream.recv_message()
        self._offer.asked.append(f"credentials {request.host}")
        username, secret = self._offer.credentials.get(request.host, ("", ""))
        await stream.send_message(CredentialsResponse(username=username, secret=secret))

    async def secret(self, stream: Any) -> None:
        request = await stream.recv_message()
        self._offer.asked.append(f"secret {request.id}")
        if request.id not in self._offer.secrets:
            raise GRPCError(Status.NOT_FOUND, f"secret {request.id} not found")
        await stream.send_message(GetSecretResponse(data=self._offer.secrets[request.id]))

    async def diff_copy(self, stream: Any) -> None:
        name = stream.metadata["dir-name"]
        follow = stream.metadata.getall("followpaths", [])
        exclude = stream.metadata.getall("exclude-patterns", [])
        self._offer.asked.append(" ".join(("files", name, *follow, *(f"!{e}" for e in exclude))))
        directory = self._offer.directories[name]
        stats = [s for s in describe(directory) if not follow or s.path in follow]
        stats = [s for s in stats if not any(s.path.split("/")[0] == e for e in exclude)]
        if self._offer.stats is not None and not follow:
            stats = list(self._offer.stats)
        for one in stats:
            await stream.send_message(Packet(type=PacketPacketType.PACKET_STAT, stat=one))
        await stream.send_message(Packet(type=PacketPacketType.PACKET_STAT))
        while (packet := await stream.recv_message()) is not None:
            if packet.type is PacketPacketType.PACKET_FIN:
                await stream.send_message(packet)
                return
            data = (directory / stats[packet.id].path).read_bytes()
            pieces = [data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES)]
            for piece in (*pieces, b""):
                await stream.send_message(
                    Packet(type=PacketPacketType.PACKET_DATA, id=packet.id, data=piece)
                )


def describe(directory: Path) -> list[Stat]:
    """The tree as fsutil tells of it: a directory before what is in it, names in order."""
    found = []
    for path in sorted(directory.rglob("*"), key=lambda one: one.parts):
        status = path.lstat()
        kind = {stat.S_IFDIR: _DIRECTORY, stat.S_IFLNK: _SYMLINK}.get(
            stat.S_IFMT(status.st_mode), 0
        )
        found.append(
            Stat(
                path=str(path.relative_to(directory)),
                mode=kind | status.st_mode & 0o777,
                size=0 if kind == _DIRECTORY else status.st_size,
                mod_time=status.st_mtime_ns,
                linkname=os.readlink(path) if kind == _SYMLINK else "",
            )
        )
    return found


def hijacked(path: Path, target: str, headers: Sequence[tuple[str, str]] = ()) -> socket.socket:
    """A connection to the engine that speaks HTTP/2 from now on."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(LIMIT_S)
    connection.connect(str(path))
    lines = [f"POST {target} HTTP/1.1", "Host: engine", "Connection: Upgrade", "Upgrade: h2c"]
    lines += [f"{name}: {value}" for name, value in headers]
    connection.sendall("\r\n".join((*lines, "", "")).encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        assert byte, head
        head += byte
    assert head.startswith(b"HTTP/1.1 101 "), head
    connection.setblocking(False)
    return connection


class BuildKitClient:
    """Builds on one engine. For asyncio."""

    def __init__(self, path: Path, offer: Offer) -> None:
        self._path, self._offer = path, offer
        self.statuses: list[StatusResponse] = []

    @asynccontextmanager
    async def channel(self) -> AsyncIterator[Channel]:
        """A connection for calls."""
        channel = _Channel(path="", codec=ProtoCodec(), status_details_codec=_Details())
        channel.connection = hijacked(self._path, "/grpc")
        try:
            yield channel
        finally:
            channel.close()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[str]:
        """A session that is open; its id."""
        id_ = secrets.token_hex(12)
        services = _Services(self._offer)
        methods = [("X-Docker-Expose-Session-Grpc-Method", m) for m in services.__mapping__()]
        head = [
            ("X-Docker-Expose-Session-Uuid", id_),
            ("X-Docker-Expose-Session-Name", "test"),
            ("X-Docker-Expose-Session-Sharedkey", ""),
        ]
        connection = hijacked(self._path, "/session", [*head, *methods])
        server = Server([services], codec=ProtoCodec())
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_accepted_socket(server._protocol_factory, connection)
        try:
            yield id_
        finally:
            transport.abort()

    async def build(
        self,
        attributes: Mapping[str, str],
        *,
        name: str = "",
        exporter: Exporter | None = None,
        frontend: str = "dockerfile.v0",
        watch: Callable[[StatusResponse], None] | None = None,
    ) -> Built:
        """One build, from its session to its image called `name`."""
        ref = secrets.token_hex(12)
        self.statuses = []
        async with asyncio.timeout(LIMIT_S), self.session() as session, self.channel() as channel:
            solve = SolveRequest(
                ref=ref,
                session=session,
                exporters=[exporter or Exporter(type="moby", attrs={"name": name})],
            )
            solving = asyncio.create_task(call(channel, "Solve", solve, SolveResponse))
            watching = asyncio.create_task(self._watch(channel, ref, watch))
            metadata = {"buildkit-controlapi-buildid": ref}
            await bridge(channel, "Ping", gateway.PingRequest(), gateway.PongResponse, metadata)
            wish = gateway.SolveRequest(
                frontend=frontend, frontend_opt=dict(attributes), allow_result_return=True
            )
            returned = gateway.ReturnRequest(result=gateway.Result(ref=gateway.Ref()))
            try:
                made = await bridge(channel, "Solve", wish, gateway.SolveResponse, metadata)
                returned = gateway.ReturnRequest(result=made.result)
            except GRPCError as error:
                returned.error = gateway.Failure(
                    code=error.status.value,
                    message=error.message or "",
                    details=error.details or [],
                )
            try:
                if not solving.done():
                    await bridge(channel, "Return", returned, gateway.ReturnResponse, metadata)
                answer = (await solving).exporter_response
            except GRPCError as failed:
                return Built(answer={}, error=failed, statuses=self.statuses)
            finally:
                await watching
        return Built(answer=answer, error=None, statuses=self.statuses)

    async def _watch(
        self, channel: Channel, ref: str, watch: Callable[[StatusResponse], None] | None
    ) -> None:
        route = "/moby.buildkit.v1.Control/Status"
        async with channel.request(
            route, Cardinality.UNARY_STREAM, StatusRequest, StatusResponse
        ) as stream:
            await stream.send_message(StatusRequest(ref=ref), end=True)
            async for batch in stream:
                self.statuses.append(batch)
                if watch is not None:
                    watch(batch)


async def call(channel: Channel, name: str, request: Any, reply: type[Any]) -> Any:
    """One of Control's."""
    return await _unary(channel, f"/moby.buildkit.v1.Control/{name}", request, reply, {})


async def bridge(
    channel: Channel, name: str, request: Any, reply: type[Any], metadata: Mapping[str, str]
) -> Any:
    """One of LLBBridge's."""
    route = f"/moby.buildkit.v1.frontend.LLBBridge/{name}"
    return await _unary(channel, route, request, reply, metadata)


async def _unary(
    channel: Channel, route: str, request: Any, reply: type[Any], metadata: Mapping[str, str]
) -> Any:
    async with channel.request(
        route, Cardinality.UNARY_UNARY, type(request), reply, metadata=metadata
    ) as stream:
        await stream.send_message(request, end=True)
        return await stream.recv_message()
