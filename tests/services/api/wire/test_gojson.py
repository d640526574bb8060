"""Answers with names that were no UTF-8."""

from __future__ import annotations

from services.api.streams.message_lines import message_line
from services.api.wire.errors import error_body
from services.api.wire.gojson import encode

ODD = b"a\xff\xfe".decode("utf-8", "surrogateescape")


def test_what_is_no_text() -> None:
    """As Go's encoder: U+FFFD; an answer all the same."""
    shown = "a\ufffd\ufffd".encode()
    assert encode({"x": [ODD, 1]}) == b'{"x":["%s",1]}\n' % shown
    assert error_body(ODD) == b'{"message":"%s"}\n' % shown
    assert message_line({"stream": ODD}) == b'{"stream":"%s"}\r\n' % shown
