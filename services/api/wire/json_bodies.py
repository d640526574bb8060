"""JSON bodies in and out: what encoding/json and dockerd's helpers accept, as our structs.

Go is lenient where msgspec is strict: null means absent, names match in any case, unknown names are
passed over. Bodies are a few kilobytes, so they are decoded to plain objects first, put in order by
the struct's type, and converted then.

Source: Go, encoding/json (Unmarshal); dockerd's httputils (ReadJSON, CheckForJSON).
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import cache
from itertools import zip_longest
from types import MappingProxyType
from typing import Any, Final, TypeVar, cast

import msgspec
from msgspec import inspect

from services import typed_json
from services.api.wire import gojson
from services.api.wire.gojson import encode as encode
from services.api.wire.request import EngineRequest, current_request
from services.errors import InvalidParameter

T = TypeVar("T")

_STRING_OR_LIST: Final = frozenset({"Cmd", "Entrypoint", "Shell", "CapAdd", "CapDrop"})
"""Where Docker takes one string for a list of one (its strslice type)."""

_WITHOUT_STRINGS: Final = frozenset({"ExecConfig"})
"""Structs in which these are lists and nothing else."""

_INTEGERS: Final = MappingProxyType(
    {"int64": range(-(2**63), 2**63), "uint16": range(2**16), "uint64": range(2**64)}
)


async def read_json(kind: type[T], request: EngineRequest | None = None) -> T | None:
    """The request's body as a `kind`; None if there is no body, which dockerd does not mind here.

    Raises:
        InvalidParameter: another content type, or no such JSON; texts as dockerd's.
    """
    request = request or current_request()
    has_body = request.content_length != 0 and (
        request.content_length is not None or "Transfer-Encoding" in request.headers
    )
    check_content_type(request.headers.get("Content-Type", ""), has_body=has_body)
    return decode(await request.body.read(), kind) if has_body else None


def check_content_type(value: str, *, has_body: bool) -> None:
    """Refuse a body that does not call itself JSON. Parameters (charset) do not matter.

    Raises:
        InvalidParameter: with dockerd's text.
    """
    if not value and not has_body:
        return
    essence = value.partition(";")[0].strip().lower()
    if essence.count("/") > 1 or essence.startswith("/") or essence.endswith("/"):
        raise InvalidParameter(
            f"malformed Content-Type header ({value}): mime: expected token after slash"
        )
    if essence != "application/json":
        raise InvalidParameter(
            f"unsupported Content-Type header ({value}): must be 'application/json'"
        )


def decode(body: bytes, kind: type[T]) -> T:
    """One JSON value as a `kind` (a msgspec struct or any type msgspec knows).

    Raises:
        InvalidParameter: not JSON, not of this shape, or followed by something.
    """
    try:
        value = gojson.decode(body)
    except gojson.TrailingContentError as error:
        raise InvalidParameter(str(error)) from error
    except gojson.JsonSyntaxError as error:
        text = "got EOF while reading request body" if str(error) == "EOF" else str(error)
        raise InvalidParameter(f"invalid JSON: {text}") from error
    # A type is hashable; mypy does not take a type variable's for it.
    shape = _type_of(cast(Hashable, kind))
    ordered = _ordered(value, shape, _Place(kind=kind.__name__))
    try:
        return typed_json.convert(ordered, kind)
    except msgspec.ValidationError as error:
        raise InvalidParameter(f"invalid JSON: {error}") from error


@cache  # a pure function of types, and these are few
def _type_of(kind: Hashable) -> inspect.Type:
    return inspect.type_info(kind)


@cache
def _fields_of(struct: type[msgspec.Struct]) -> dict[str, inspect.Field]:
    """By folded JSON name. The types of fields are resolved by msgspec, once."""
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    return {field.encode_name.lower(): field for field in info.fields}


class _Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where in the body we are, in Go's words: the innermost struct and the path from the root."""

    kind: str
    path: str = ""

    def field(self, name: str) -> _Place:
        """One level down."""
        return _Place(kind=self.kind, path=f"{self.path}.{name}" if self.path else name)

    def refuse(self, found: str, wanted: str) -> InvalidParameter:
        """The error for a value of the wrong type."""
        target = f"struct field {self.kind}.{self.path}" if self.path else "value"
        return InvalidParameter(
            f"invalid JSON: json: cannot unmarshal {found} into Go {target} of type {wanted}"
        )


def _ordered(value: Any, kind: inspect.Type, place: _Place) -> Any:
    """`value` as msgspec wants it for `kind`: names as declared, nulls left out or made zeros."""
    if isinstance(kind, inspect.UnionType):
        if value is None:
            return None
        kind = _only_member(kind)
    if isinstance(kind, inspect.StructType):
        return _ordered_struct(value, kind.cls, place)
    if isinstance(kind, inspect.DictType):
        return _ordered_map(value, kind, place)
    if isinstance(kind, inspect.ListType | inspect.VarTupleType | inspect.SetType):
        return _ordered_list(value, kind.item_type, place)
    if isinstance(kind, inspect.TupleType):
        return _ordered_array(value, kind, place)
    wanted = _scalar_name(kind)
    if wanted is None:
        return value  # Any, Raw and the like: msgspec's to judge
    if not _fits(value, wanted):
        raise place.refuse(_found(value, wanted), wanted)
    return value


def _ordered_struct(value: Any, cls: type[msgspec.Struct], place: _Place) -> Any:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise place.refuse(_found(value), cls.__name__)
    fields = _fields_of(cls)
    ordered = {}
    for name, inner in value.items():
        field = fields.get(name.lower())
        if field is None or inner is None:
            continue
        below = _Place(kind=cls.__name__, path=place.path).field(field.encode_name)
        if isinstance(inner, str) and _may_be_string(cls, field.encode_name):
            inner = [inner]
        ordered[field.encode_name] = _ordered(inner, field.type, below)
    return ordered


def _may_be_string(cls: type[msgspec.Struct], name: str) -> bool:
    return name in _STRING_OR_LIST and cls.__name__ not in _WITHOUT_STRINGS


def _ordered_map(value: Any, kind: inspect.DictType, place: _Place) -> Any:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise place.refuse(_found(value), _go_name(kind))
    return {
        name: _zero(kind.value_type) if inner is None else _ordered(inner, kind.value_type, place)
        for name, inner in value.items()
    }


def _ordered_list(value: Any, item: inspect.Type, place: _Place) -> Any:
    if value is None:
        return []
    if not isinstance(value, list):
        raise place.refuse(_found(value), f"[]{_go_name(item)}")
    return [_zero(item) if inner is None else _ordered(inner, item, place) for inner in value]


def _ordered_array(value: Any, kind: inspect.TupleType, place: _Place) -> Any:
    """Go's arrays: what is missing is zero, what is too much is passed over."""
    items = kind.item_types
    if value is None:
        return [_zero(item) for item in items]
    if not isinstance(value, list):
        raise place.refuse(_found(value), f"[{len(items)}]{_go_name(items[0])}")
    return [
        _zero(item) if inner is None else _ordered(inner, item, place)
        for item, inner in zip_longest(items, value[: len(items)])
    ]


def _only_member(kind: inspect.UnionType) -> inspect.Type:
    """Of `X | None` or `X | UnsetType`: X."""
    members = [
        member
        for member in kind.types
        if not isinstance(member, inspect.NoneType | inspect.CustomType)
    ]
    return members[0] if len(members) == 1 else inspect.AnyType()


def _zero(kind: inspect.Type) -> Any:
    """What Go leaves for a null inside a list or a map."""
    if isinstance(kind, inspect.UnionType):
        return None
    if isinstance(kind, inspect.StructType | inspect.DictType):
        return {}
    zeros = {"string": "", "float64": 0.0, "bool": False}
    name = _scalar_name(kind)
    if name is not None:
        return zeros.get(name, 0)
    return [] if isinstance(kind, inspect.ListType) else None


def _scalar_name(kind: inspect.Type) -> str | None:
    match kind:
        case inspect.BoolType():
            return "bool"
        case inspect.IntType(ge=0, le=65535):
            return "uint16"
        case inspect.IntType(ge=0):
            return "uint64"
        case inspect.IntType():
            return "int64"
        case inspect.FloatType():
            return "float64"
        case inspect.StrType():
            return "string"
    return None


def _go_name(kind: inspect.Type) -> str:
    match kind:
        case inspect.UnionType():
            return _go_name(_only_member(kind))
        case inspect.StructType():
            return kind.cls.__name__
        case inspect.DictType():
            return f"map[{_go_name(kind.key_type)}]{_go_name(kind.value_type)}"
        case inspect.ListType():
            return f"[]{_go_name(kind.item_type)}"
    return _scalar_name(kind) or "interface {}"


def _fits(value: Any, wanted: str) -> bool:
    match wanted:
        case "bool":
            return isinstance(value, bool)
        case "float64":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "string":
            return isinstance(value, str)
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    return is_integer and value in _INTEGERS[wanted]


def _found(value: Any, wanted: str = "") -> str:
    """Go's word for what stands there."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        # Go shows the number as it was sent, and hardly anybody sends the sign that Python adds.
        return f"number {value}".replace("e+", "e") if wanted in _INTEGERS else "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"
