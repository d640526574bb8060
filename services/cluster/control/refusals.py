"""Refusals as clients get them from dockerd, where these come from its swarm component by gRPC.

Scripts look for the whole text, so the word of gRPC's status stands before the sentence; a status
of HTTP goes with it.

Source: moby, daemon/server/httpstatus (statusCodeFromGRPCError).
"""

from __future__ import annotations

from services.errors import Conflict, Forbidden, InvalidParameter, NotSupported


def invalid(sentence: str) -> InvalidParameter:
    """What was asked for cannot be meant. 400."""
    return InvalidParameter(f"rpc error: code = InvalidArgument desc = {sentence}")


def precondition(sentence: str) -> InvalidParameter:
    """The cluster is not as it would have to be. 400, as dockerd's."""
    return InvalidParameter(f"rpc error: code = FailedPrecondition desc = {sentence}")


def exists(sentence: str) -> Conflict:
    """There is one already. 409."""
    return Conflict(f"rpc error: code = AlreadyExists desc = {sentence}")


def denied(sentence: str) -> Forbidden:
    """Not for users to do. 403."""
    return Forbidden(f"rpc error: code = PermissionDenied desc = {sentence}")


def unimplemented(sentence: str) -> NotSupported:
    """Not offered. 501."""
    return NotSupported(f"rpc error: code = Unimplemented desc = {sentence}")
