"""Answers with names that were no UTF-8."""

from __future__ import annotations

import pytest

from services.api.streams.message_lines import message_line
from services.api.wire.errors import error_body
from services.api.wire.gojson import JsonSyntaxError, decode, encode

ODD = b"a\xff\xfe".decode("utf-8", "surrogateescape")


def test_what_is_no_text() -> None:
    """As Go's encoder: U+FFFD; an answer all the same."""
    shown = "a\ufffd\ufffd".encode()
    assert encode({"x": [ODD, 1]}) == b'{"x":["%s",1]}\n' % shown
    assert error_body(ODD) == b'{"message":"%s"}\n' % shown
    assert message_line({"stream": ODD}) == b'{"stream":"%s"}\r\n' % shown


@pytest.mark.parametrize("digits", [19, 20, 40, 5000, 1_000_000])
def test_endless_numbers(digits: int) -> None:
    """A number all the same, for its place to refuse; no crash, and no waiting for it."""
    for number in (b"9" * digits, b"-" + b"9" * digits):
        assert abs(decode(b'{"a":%s}' % number)["a"]) > 10 ** (min(digits, 100) - 1)
    with pytest.raises(JsonSyntaxError, match="after object key:value pair"):
        decode(b'{"a":%sx}' % (b"9" * digits))
