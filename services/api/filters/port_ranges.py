"""The values of the filters `expose` and `publish`: "80", "80/udp", "8000-8010/tcp".

Source: moby, daemon/list.go; its texts are those of go-connections/nat.
"""

from __future__ import annotations

import re
from typing import Final

from services.api.wire import gojson
from services.errors import InvalidParameter

_DIGITS: Final = re.compile(r"[0-9]+\Z")
_LAST_PORT: Final = 65535


def port_range(name: str, text: str) -> tuple[str, range]:
    """The protocol and the ports that a value of the filter `name` stands for.

    Raises:
        InvalidParameter: it is none.
    """
    if ":" in text:
        raise InvalidParameter(f"filter for '{name}' should not contain ':': {text}")
    ports, _, protocol = text.partition("/")
    try:
        first, last = _ends(ports)
    except ValueError as error:
        raise InvalidParameter(f"error while looking up for {name} {text}: {error}") from None
    return protocol or "tcp", range(first, last + 1)


def _ends(ports: str) -> tuple[int, int]:
    if not ports:
        raise ValueError("empty string specified for ports")
    first, dash, last = ports.partition("-")
    start = _number(first)
    end = _number(last) if dash else start
    if end < start:
        raise ValueError(f"invalid range specified for port: {ports}")
    return start, end


def _number(text: str) -> int:
    if not _DIGITS.match(text):
        raise ValueError(f"strconv.ParseUint: parsing {gojson.quote(text)}: invalid syntax")
    if len(text) > len(str(_LAST_PORT)) or int(text) > _LAST_PORT:
        raise ValueError(f"strconv.ParseUint: parsing {gojson.quote(text)}: value out of range")
    return int(text)
