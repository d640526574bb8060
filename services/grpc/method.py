"""One RPC: where it lives, what it takes and gives, how long it may take."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from betterproto2 import Message
from grpclib.const import Cardinality

RPC_LIMIT_S: Final = 10.0
NO_LIMIT_S: Final = math.inf

RequestT = TypeVar("RequestT", bound=Message)
ReplyT = TypeVar("ReplyT", bound=Message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Method(Generic[RequestT, ReplyT]):
    """A test compares every one of these with the services in protos/."""

    service: str  # with its package: "containerd.services.tasks.v1.Tasks"
    name: str
    request: type[RequestT]
    reply: type[ReplyT]
    cardinality: Cardinality = Cardinality.UNARY_UNARY
    limit_s: float = RPC_LIMIT_S  # for a stream: between two messages
    peer: str = ""  # whom messages name as the one that is called
    reply_limit_bytes: int = 0  # of each message of a peer that is not trusted; 0: none

    @property
    def route(self) -> str:
        """The path of the HTTP/2 request."""
        return f"/{self.service}/{self.name}"

    def about(self, object_: str) -> str:
        """The call and its object, as the beginning of an error message."""
        call = f"{self.service.rpartition('.')[2].lower()}.{self.name.lower()}"
        return f"{self.peer} {call} {object_}" if object_ else f"{self.peer} {call}"
