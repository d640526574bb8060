"""JSON and plain values made into typed ones, from any thread.

msgspec gathers what it has to know of a struct when it is asked for it first, and shows it to other
threads before it is whole: they crash the process (0.22; four threads that decode the same types
for the first time do in most runs). So types are prepared by one thread at a time, here; what is
prepared is used without a lock.
"""

from __future__ import annotations

import threading
from typing import Any, Final, TypeVar, overload

import msgspec

T = TypeVar("T")

_preparing: Final = threading.RLock()
_decoders: Final[dict[Any, msgspec.json.Decoder[Any]]] = {}  # of the process, as msgspec's own are


@overload
def decoder(kind: type[T]) -> msgspec.json.Decoder[T]: ...
@overload
def decoder(kind: Any) -> msgspec.json.Decoder[Any]: ...
def decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """The decoder for a type; one for all who ask, with what msgspec knows of the type."""
    known = _decoders.get(kind)
    if known is None:
        with _preparing:
            known = _decoders.get(kind)
            if known is None:
                known = _decoders[kind] = msgspec.json.Decoder(kind)
    return known


@overload
def decode(data: bytes | str, kind: type[T]) -> T: ...
@overload
def decode(data: bytes | str, kind: Any) -> Any: ...
def decode(data: bytes | str, kind: Any) -> Any:
    """One JSON value. Raises msgspec.DecodeError: it is none, or not of this kind."""
    return decoder(kind).decode(data)


@overload
def convert(value: object, kind: type[T]) -> T: ...
@overload
def convert(value: object, kind: Any) -> Any: ...
def convert(value: object, kind: Any) -> Any:
    """A value of plain types. Raises msgspec.ValidationError: it is not of this kind."""
    decoder(kind)
    return msgspec.convert(value, kind)
