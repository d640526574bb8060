"""The dispatcher's values as messages, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeVar, assert_never

import betterproto2
import msgspec

from protos.generated.cluster import LogMessage as LogMessageProto
from protos.generated.cluster import SessionMessage as SessionMessageProto
from services import typed_json
from services.cluster.dispatcher.values import (
    Assignments,
    LogMessage,
    LogRequest,
    LogStop,
    SessionFacts,
    SessionMessage,
)
from services.errors import InvalidParameter

T = TypeVar("T")

_encode: Final = msgspec.json.encode
_OF_FIELD: Final[dict[str, type[SessionMessage]]] = {
    "facts_json": SessionFacts,
    "assignments_json": Assignments,
    "log_request_json": LogRequest,
    "log_stop_json": LogStop,
}


def encode_json(value: object) -> bytes:
    """A value for a field named `json`."""
    return _encode(value)


def decode_json(data: bytes, kind: type[T]) -> T:
    """The value again. Raises InvalidParameter for what is none."""
    try:
        return typed_json.decode(data, kind)
    except msgspec.MsgspecError as error:
        raise InvalidParameter(f"a message between nodes is malformed: {error}") from error


def encode_session_message(message: SessionMessage) -> SessionMessageProto:
    """For the wire."""
    match message:
        case SessionFacts():
            return SessionMessageProto(facts_json=_encode(message))
        case Assignments():
            return SessionMessageProto(assignments_json=_encode(message))
        case LogRequest():
            return SessionMessageProto(log_request_json=_encode(message))
        case LogStop():
            return SessionMessageProto(log_stop_json=_encode(message))
        case _:
            assert_never(message)


def decode_session_message(message: SessionMessageProto) -> SessionMessage:
    """From the wire. Raises InvalidParameter for what is none."""
    field, data = betterproto2.which_one_of(message, "message")
    kind = _OF_FIELD.get(field)
    if kind is None or not isinstance(data, bytes):
        raise InvalidParameter("a message between nodes is empty")
    return decode_json(data, kind)


def encode_logs(messages: Iterable[LogMessage]) -> list[LogMessageProto]:
    """For the wire."""
    return [
        LogMessageProto(
            task_id=message.task_id,
            node_id=message.node_id,
            service_id=message.service_id,
            timestamp_ns=message.timestamp_ns,
            stream=message.stream,
            data=message.data,
            details=message.details,
        )
        for message in messages
    ]


def decode_logs(messages: Iterable[LogMessageProto]) -> list[LogMessage]:
    """From the wire."""
    return [
        LogMessage(
            task_id=message.task_id,
            node_id=message.node_id,
            service_id=message.service_id,
            timestamp_ns=message.timestamp_ns,
            stream=message.stream,
            data=message.data,
            details=message.details,
        )
        for message in messages
    ]
