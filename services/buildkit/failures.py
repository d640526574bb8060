"""How a build's failure reaches its client: a status with details, from which it shows the line.

Source: BuildKit, util/grpcerrors/grpcerrors.go and errdefs/source.go: a detail's value is JSON.
"""

from __future__ import annotations

import base64
from typing import Final

import msgspec
from grpclib.const import Status
from grpclib.encoding.base import StatusDetailsCodecBase
from grpclib.exceptions import GRPCError

from protos.generated.moby.buildkit.v1.frontend import Failure
from protos.generated.wire import Any as AnyMessage
from services.errors import EngineError

from .progress import failure_text

SOURCE_TYPE: Final = "github.com/moby/buildkit/errdefs.Source+json"
MAX_HEADER_BYTES: Final = 12 << 10
"""Of all details: grpc-go refuses heads of more than 16 KB from servers by default."""


class BuildFailed(EngineError):
    """A build failed, or its client says that it did; carried as it is."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure: Final = failure


class DetailsCodec(StatusDetailsCodecBase):
    """Details of errors, as grpclib wants them written; they are `Failure`s already."""

    def encode(self, status: Status, message: str | None, details: object) -> bytes:
        """The value of grpc-status-details-bin."""
        assert isinstance(details, list)
        return bytes(Failure(code=status.value, message=message or "", details=details))

    def decode(self, status: Status, message: str | None, data: bytes) -> object:  # noqa: ARG002
        """The other way; nobody sends us any."""
        return Failure.parse(data).details


def failure_of(error: EngineError, name: str, dockerfile: bytes | None) -> Failure:
    """An error of a build from a Dockerfile called `name`, with the place if it has one."""
    line = getattr(error, "line", 0)
    details = []
    if line and dockerfile is not None:
        source = _source(name, dockerfile, line)
        if len(source) <= MAX_HEADER_BYTES:
            details.append(AnyMessage(type_url=SOURCE_TYPE, value=source))
    text = str(error) if type(error).__name__ == "DockerfileError" else failure_text(error)
    # Clients put other statuses' names before the text.
    return Failure(code=Status.UNKNOWN.value, message=text, details=details)


def grpc_error(failure: Failure) -> GRPCError:
    """As grpclib sends it."""
    try:
        status = Status(failure.code)
    except ValueError:
        status = Status.UNKNOWN
    return GRPCError(status, failure.message, failure.details or None)


def _source(name: str, dockerfile: bytes, line: int) -> bytes:
    position = {"start": {"line": line}, "end": {"line": line}}
    return msgspec.json.encode(
        {
            "info": {
                "filename": name,
                "data": base64.b64encode(dockerfile).decode(),
                "language": "Dockerfile",
            },
            "ranges": [position],
        }
    )
