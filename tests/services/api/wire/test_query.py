"""Query parameters as dockerd reads them."""

from __future__ import annotations

import pytest

from services.api.wire.query import parse_filters, parse_query
from services.errors import InvalidParameter


def test_parameters_are_split_and_unescaped() -> None:
    """Plus is a space, the first of several counts, values can be absent or empty."""
    query = parse_query(b"a=1&a=2&b=x+y%26&c&&d=%C3%A4")
    assert query.text("a") == "1"
    assert query.values("a") == ("1", "2")
    assert query.text("b") == "x y&"
    assert "c" in query
    assert query.text("c", "default") == ""
    assert query.text("nope", "default") == "default"
    assert query.text("d") == "ä"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"a=%zz", 'invalid URL escape "%zz"'),
        (b"a=%", 'invalid URL escape "%"'),
        (b"a=%4", 'invalid URL escape "%4"'),
        (b"a;b", "invalid semicolon separator in query"),
    ],
)
def test_malformed_queries_are_refused(raw: bytes, message: str) -> None:
    """In Go's words."""
    with pytest.raises(InvalidParameter) as caught:
        parse_query(raw)
    assert str(caught.value) == message


def test_booleans() -> None:
    """Five spellings of false; everything else is true; absent is the default."""
    for text in (b"", b"0", b"no", b"False", b"NONE", b"%20false%20"):
        assert not parse_query(b"a=" + text).boolean("a")
    for text in (b"1", b"true", b"yes", b"off", b"-1"):
        assert parse_query(b"a=" + text).boolean("a")
    assert parse_query(b"").boolean("a", default=True)
    assert not parse_query(b"a").boolean("a", default=True)


def test_integers() -> None:
    """Decimal int64, signs allowed; absent and empty are the default; else Go's words."""
    assert parse_query(b"a=-12").integer("a") == -12
    assert parse_query(b"a=%2B12").integer("a") == 12
    assert parse_query(b"a=").integer("a", 7) == 7
    assert parse_query(b"").integer("a", 7) == 7
    for text, message in (
        (b"x", 'strconv.Atoi: parsing "x": invalid syntax'),
        (b"1_0", 'strconv.Atoi: parsing "1_0": invalid syntax'),
        (b"9223372036854775808", 'strconv.Atoi: parsing "9223372036854775808": value out of range'),
        (b"9" * 5000, "value out of range"),
    ):
        with pytest.raises(InvalidParameter) as caught:
            parse_query(b"a=" + text).integer("a")
        assert message in str(caught.value)


def test_filters() -> None:
    """Both forms, nulls, and nothing at all."""
    assert parse_filters("") == {}
    assert parse_filters("null") == {}
    assert parse_filters('{"label":["a","b","a"],"id":null}') == {"label": ("a", "b"), "id": ()}
    assert parse_filters('{"label":{"a":true,"b":false}}') == {"label": ("a", "b")}
    assert parse_query(b"filters=%7B%22a%22%3A%5B%22b%22%5D%7D").filters() == {"a": ("b",)}
    for text in ("x", "[]", '{"a":"b"}', '{"a":[1]}', '{"a":{"b":1}}', "{}x"):
        with pytest.raises(InvalidParameter, match="invalid filter"):
            parse_filters(text)
