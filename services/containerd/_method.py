"""One RPC of containerd."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from services.grpc import method
from services.grpc.method import NO_LIMIT_S as NO_LIMIT_S
from services.grpc.method import RPC_LIMIT_S as RPC_LIMIT_S
from services.grpc.method import ReplyT as ReplyT
from services.grpc.method import RequestT as RequestT

SLOW_RPC_LIMIT_S: Final = 60.0  # what starts a program, unmounts, syncs or walks a directory tree
BULK_RPC_LIMIT_S: Final = 900.0  # what unpacks or packs a whole layer


@dataclass(frozen=True, slots=True, kw_only=True)
class Method(method.Method[RequestT, ReplyT]):
    """Of containerd's."""

    peer: str = "containerd"
