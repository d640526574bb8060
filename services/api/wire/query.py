"""Query parameters with Go's rules: how dockerd reads them is part of the API.

Source: Go's net/url and strconv; dockerd's form helpers and its filters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote_to_bytes

from services.api.wire import gojson
from services.errors import InvalidParameter

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})(.{0,2})", re.DOTALL)
_INTEGER = re.compile(r"[+-]?[0-9]+\Z", re.ASCII)
_FALSE: Final = frozenset({"", "0", "no", "false", "none"})
_INT64: Final = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True)
class Query:
    """The parameters of one request. Of a repeated one, the first counts except for `values`."""

    parameters: Mapping[str, tuple[str, ...]]

    def __contains__(self, name: str) -> bool:
        """Whether it was given, be it empty."""
        return name in self.parameters

    def text(self, name: str, default: str = "") -> str:
        """The value; `default` if the parameter is absent."""
        found = self.parameters.get(name)
        return found[0] if found else default

    def values(self, name: str) -> tuple[str, ...]:
        """Every value that was given."""
        return self.parameters.get(name, ())

    def boolean(self, name: str, *, default: bool = False) -> bool:
        """False for "", "0", "no", "false", "none" in any case, else true. Absent: `default`."""
        found = self.parameters.get(name)
        return found[0].strip().lower() not in _FALSE if found else default

    def integer(self, name: str, default: int = 0) -> int:
        """A decimal int64; absent or empty: `default`.

        Raises:
            InvalidParameter: as `parse_integer`.
        """
        text = self.text(name)
        return parse_integer(text) if text else default

    def filters(self, name: str = "filters") -> Mapping[str, tuple[str, ...]]:
        """The `filters` parameter; see `parse_filters`."""
        return parse_filters(self.text(name))


def parse_integer(text: str) -> int:
    """A decimal int64.

    Raises:
        InvalidParameter: with Go's words. (dockerd's status is 500; here it is 400.)
    """
    if not _INTEGER.match(text):
        raise InvalidParameter(f"strconv.Atoi: parsing {gojson.quote(text)}: invalid syntax")
    if len(text) > 20 or int(text) not in _INT64:
        raise InvalidParameter(f"strconv.Atoi: parsing {gojson.quote(text)}: value out of range")
    return int(text)


def parse_query(raw: bytes) -> Query:
    """Split a query string.

    Raises:
        InvalidParameter: a malformed escape, or a semicolon as separator.
    """
    parameters: dict[str, list[str]] = {}
    for part in raw.split(b"&"):
        if not part:
            continue
        if b";" in part:
            raise InvalidParameter("invalid semicolon separator in query")
        name, _, value = part.partition(b"=")
        parameters.setdefault(_unescape(name), []).append(_unescape(value))
    return Query(MappingProxyType({name: tuple(values) for name, values in parameters.items()}))


def _unescape(text: bytes) -> str:
    bad = _BAD_ESCAPE.search(text)
    if bad is not None:
        shown = (b"%" + bad[1]).decode("utf-8", "replace")
        raise InvalidParameter(f"invalid URL escape {gojson.quote(shown)}")
    return unquote_to_bytes(text.replace(b"+", b" ")).decode("utf-8", "replace")


def parse_filters(text: str) -> Mapping[str, tuple[str, ...]]:
    """Read a `filters` parameter: `{"name": ["a"]}`, or `{"name": {"a": true}}` in its other form.

    Raises:
        InvalidParameter: it is neither.
    """
    if not text:
        return MappingProxyType({})
    try:
        decoded = gojson.decode(text.encode("utf-8", "replace"))
    except gojson.JsonSyntaxError as error:
        raise InvalidParameter("invalid filter") from error
    if decoded is None:
        return MappingProxyType({})
    if not isinstance(decoded, dict):
        raise InvalidParameter("invalid filter")
    filters: dict[str, tuple[str, ...]] = {}
    for name, values in decoded.items():
        filters[name] = _filter_values(values)
    return MappingProxyType(filters)


def _filter_values(values: object) -> tuple[str, ...]:
    # dockerd keeps a set: order and repetition mean nothing, nor does the truth value.
    if values is None:
        return ()
    if isinstance(values, list) and all(isinstance(value, str) for value in values):
        return tuple(dict.fromkeys(values))
    if isinstance(values, dict) and all(isinstance(truth, bool) for truth in values.values()):
        return tuple(values)
    raise InvalidParameter("invalid filter")
