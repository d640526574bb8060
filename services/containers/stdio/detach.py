"""Detach keys: their spelling, and finding them in what a client types."""

from __future__ import annotations

import string
from typing import Final

from services.errors import InvalidParameter

DEFAULT_DETACH_KEYS: Final = b"\x10\x11"  # ctrl-p,ctrl-q
_CONTROLS: Final = "@" + string.ascii_lowercase + "[\\]^_"
_NAMED: Final = {f"ctrl-{key}": code for code, key in enumerate(_CONTROLS)} | {"DEL": 127}


def parse_detach_keys(text: str) -> bytes:
    """The bytes that `text` spells: single characters, `ctrl-x` and `DEL`, separated by commas.

    "" is the default sequence.

    Raises:
        InvalidParameter: in dockerd's words.

    Source: moby/term, ToBytes; moby, daemon/attach.go.
    """
    if not text:
        return DEFAULT_DETACH_KEYS
    codes = bytearray()
    for key in text.split(","):
        if key in _NAMED:
            codes.append(_NAMED[key])
        elif len(key.encode()) == 1:
            codes += key.encode()
        else:
            raise InvalidParameter(f"Invalid detach keys ({text}) provided")
    return bytes(codes)


class DetachKeys:
    """Finds a key sequence in a stream of input, however it is cut into reads.

    The beginning of a sequence is held back until it is complete, or known to be none. Empty `keys`
    are never found.
    """

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What to pass on, and whether the sequence was found; what follows it is dropped."""
        if not self._keys:
            return data, False
        data = self._held + data
        found = data.find(self._keys)
        if found >= 0:
            self._held = b""
            return data[:found], True
        keep = next(
            (n for n in range(len(self._keys) - 1, 0, -1) if data.endswith(self._keys[:n])), 0
        )
        cut = len(data) - keep
        self._held = data[cut:]
        return data[:cut], False

    def rest(self) -> bytes:
        """What is still held back when the input has ended."""
        held, self._held = self._held, b""
        return held
