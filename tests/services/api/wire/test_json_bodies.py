# ruff: noqa: E501 (a table of error texts reads best with one on a line)
"""JSON bodies as Go reads them, to the words of its errors."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api.wire import gojson
from services.api.wire.json_bodies import check_content_type, decode, encode
from services.containers.config import ContainerConfig, HostConfig
from services.errors import InvalidParameter


class Inner(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    count: int = 0
    ratio: float = 0.0


class Outer(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    name: str = ""
    inner: Inner | None = None
    inners: list[Inner] = []
    named: dict[str, Inner] = {}
    flags: list[bool] | None = None
    cmd: list[str] | None = None
    free: Any = None


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"{}", Outer()),
        (b"null", Outer()),
        (b'{"name":"a"}', Outer(name="a")),
        (b'{"NAME":"a","nAmE":"b"}', Outer(name="b")),
        (b'{"Name":null,"Inner":null,"Inners":null,"Named":null,"Flags":null}', Outer()),
        (b'{"Unknown":{"deep":[1,2]}}', Outer()),
        (b'{"Inner":{"COUNT":3}}', Outer(inner=Inner(count=3))),
        (b'{"Inner":{"Count":3,"Ratio":2}}', Outer(inner=Inner(count=3, ratio=2.0))),
        (b'{"Inners":[{"count":1},null]}', Outer(inners=[Inner(count=1), Inner()])),
        (b'{"Named":{"Key":{"count":1},"none":null}}', Outer(named={"Key": Inner(count=1), "none": Inner()})),
        (b'{"Flags":[true,null]}', Outer(flags=[True, False])),
        (b'{"Cmd":"one"}', Outer(cmd=["one"])),
        (b'{"Free":{"a":[1,"b"]}}', Outer(free={"a": [1, "b"]})),
        (b' \r\n\t{"Name":"a"}\n', Outer(name="a")),
        (b'{"Name":"\xff"}', Outer(name="\ufffd")),
        (b'{"Name":"\\ud83d"}', Outer(name="\ufffd")),
        (b'{"Name":"\\ud83d\\ude00"}', Outer(name="\U0001f600")),
    ],
)  # fmt: skip
def test_what_go_accepts(body: bytes, value: Outer) -> None:
    """Nulls are absent, names match in any case, unknown ones pass, bad UTF-8 is mended."""
    assert decode(body, Outer) == value


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "invalid JSON: got EOF while reading request body"),
        (b" \n", "invalid JSON: got EOF while reading request body"),
        (b"{", "invalid JSON: unexpected EOF"),
        (b'{"a":', "invalid JSON: unexpected EOF"),
        (b'{"a":"', "invalid JSON: unexpected EOF"),
        (b"nul", "invalid JSON: unexpected EOF"),
        (b"-", "invalid JSON: unexpected EOF"),
        (b"{} {}", "unexpected content after JSON"),
        (b"{}x", "unexpected content after JSON"),
        (b"x", "invalid JSON: invalid character 'x' looking for beginning of value"),
        (b"'", "invalid JSON: invalid character '\\'' looking for beginning of value"),
        (b"[1,]", "invalid JSON: invalid character ']' looking for beginning of value"),
        (b"{x", "invalid JSON: invalid character 'x' looking for beginning of object key string"),
        (b'{"a":1,}', "invalid JSON: invalid character '}' looking for beginning of object key string"),
        (b'{"a"x', "invalid JSON: invalid character 'x' after object key"),
        (b'{"a":1"', "invalid JSON: invalid character '\"' after object key:value pair"),
        (b"[1 2]", "invalid JSON: invalid character '2' after array element"),
        (b'"\n"', "invalid JSON: invalid character '\\n' in string literal"),
        (b'"\\x"', "invalid JSON: invalid character 'x' in string escape code"),
        (b'"\\u12g4"', "invalid JSON: invalid character 'g' in \\u hexadecimal character escape"),
        (b"-x", "invalid JSON: invalid character 'x' in numeric literal"),
        (b"1.x", "invalid JSON: invalid character 'x' after decimal point in numeric literal"),
        (b"1ex", "invalid JSON: invalid character 'x' in exponent of numeric literal"),
        (b"trux", "invalid JSON: invalid character 'x' in literal true (expecting 'e')"),
        (b"\x00", "invalid JSON: invalid character '\\x00' looking for beginning of value"),
        (b"\xc3", "invalid JSON: invalid character 'Ã' looking for beginning of value"),
        (b"[" * 20000, "invalid JSON: invalid character '[' exceeded max depth"),
        (b"[]", "invalid JSON: json: cannot unmarshal array into Go value of type Outer"),
        (b'"x"', "invalid JSON: json: cannot unmarshal string into Go value of type Outer"),
        (b'{"Name":1}', "invalid JSON: json: cannot unmarshal number into Go struct field Outer.Name of type string"),
        (b'{"Name":true}', "invalid JSON: json: cannot unmarshal bool into Go struct field Outer.Name of type string"),
        (b'{"Inner":{"Count":1.5}}', "invalid JSON: json: cannot unmarshal number 1.5 into Go struct field Inner.Inner.Count of type int64"),
        (b'{"Inner":{"Count":9223372036854775808}}', "invalid JSON: json: cannot unmarshal number 9223372036854775808 into Go struct field Inner.Inner.Count of type int64"),
        (b'{"Inner":[]}', "invalid JSON: json: cannot unmarshal array into Go struct field Outer.Inner of type Inner"),
        (b'{"Flags":{}}', "invalid JSON: json: cannot unmarshal object into Go struct field Outer.Flags of type []bool"),
        (b'{"Named":[]}', "invalid JSON: json: cannot unmarshal array into Go struct field Outer.Named of type map[string]Inner"),
    ],
)  # fmt: skip
def test_what_go_refuses(body: bytes, message: str) -> None:
    """Syntax and type errors read as Go's, which dockerd passes on."""
    with pytest.raises(InvalidParameter) as caught:
        decode(body, Outer)
    assert str(caught.value) == message


def test_docker_configurations() -> None:
    """The engine's own structs decode: nested, with maps of nullable values."""
    config = decode(
        b'{"tty":true,"ExposedPorts":{"80/tcp":null},"Entrypoint":"sh"}', ContainerConfig
    )
    assert config.tty
    assert config.exposed_ports == {"80/tcp": {}}
    assert config.entrypoint == ["sh"]
    host = decode(b'{"PortBindings":{"80/tcp":[{"hostport":"1"}],"81/tcp":null}}', HostConfig)
    assert host.port_bindings is not None
    assert host.port_bindings["80/tcp"] is not None


@given(st.binary(max_size=60))
def test_noise_is_refused_in_words(body: bytes) -> None:
    """Whatever is not JSON is InvalidParameter, never another error."""
    with suppress(InvalidParameter):
        decode(body, Outer)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(value=json_values, cut=st.integers(0, 400), edit=st.binary(max_size=2))
def test_the_scanner_agrees_with_pythons_decoder(value: Any, cut: int, edit: bytes) -> None:
    """What the scanner takes is JSON and what it refuses is not, also of texts damaged at random."""
    text = json.dumps(value).encode()
    at = cut % (len(text) + 1)
    text = text[:at] + edit + text[at:]
    try:
        json.loads(text.decode("utf-8", "replace"), parse_constant=_no_constants)
        valid = True
    except (ValueError, RecursionError):
        valid = False
    try:
        gojson.decode(text)
        accepted = True
    except gojson.JsonSyntaxError:
        accepted = False
    assert accepted == valid


def _no_constants(name: str) -> None:
    raise ValueError(name)


def test_encoding_ends_with_a_line_feed() -> None:
    """As Go's encoder; and nothing is escaped for HTML."""
    assert encode({"a": "<&>"}) == b'{"a":"<&>"}\n'


def test_content_types() -> None:
    """JSON in any case and with parameters; nothing at all only without a body."""
    check_content_type("application/json", has_body=True)
    check_content_type("Application/JSON; charset=utf-8", has_body=True)
    check_content_type("", has_body=False)
    for value, message in (
        ("", "unsupported Content-Type header (): must be 'application/json'"),
        ("text/plain", "unsupported Content-Type header (text/plain): must be 'application/json'"),
        ("a/b/c", "malformed Content-Type header (a/b/c): mime: "),
    ):
        with pytest.raises(InvalidParameter) as caught:
            check_content_type(value, has_body=True)
        assert str(caught.value).startswith(message)


class Unsigned(msgspec.Struct, rename="pascal"):
    """As in HostConfig: Go's uint16, uint64, and an array of two."""

    weight: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    rate: Annotated[int, msgspec.Meta(ge=0)] = 0
    size: tuple[Annotated[int, msgspec.Meta(ge=0)], Annotated[int, msgspec.Meta(ge=0)]] = (0, 0)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"Weight":65535,"Rate":18446744073709551615}', Unsigned(weight=65535, rate=2**64 - 1)),
        (b'{"Size":[1,2]}', Unsigned(size=(1, 2))),
        (b'{"Size":[1]}', Unsigned(size=(1, 0))),
        (b'{"Size":[1,2,3]}', Unsigned(size=(1, 2))),
        (b'{"Size":[null,2]}', Unsigned(size=(0, 2))),
        (b'{"Size":[]}', Unsigned()),
        (b'{"Size":null}', Unsigned()),
    ],
)
def test_unsigned_numbers_and_arrays_of_a_size(body: bytes, expected: Unsigned) -> None:
    """Go fills an array up, and passes over what is too much."""
    assert decode(body, Unsigned) == expected


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b'{"Weight":-1}', "number -1 into Go struct field Unsigned.Weight of type uint16"),
        (b'{"Weight":65536}', "number 65536 into Go struct field Unsigned.Weight of type uint16"),
        (b'{"Rate":-1}', "number -1 into Go struct field Unsigned.Rate of type uint64"),
        (b'{"Rate":true}', "bool into Go struct field Unsigned.Rate of type uint64"),
        (b'{"Size":[-1]}', "number -1 into Go struct field Unsigned.Size of type uint64"),
        (b'{"Size":5}', "number into Go struct field Unsigned.Size of type [2]uint64"),
    ],
)
def test_unsigned_numbers_out_of_range(body: bytes, problem: str) -> None:
    """In Go's words."""
    with pytest.raises(InvalidParameter) as refusal:
        decode(body, Unsigned)
    assert str(refusal.value) == f"invalid JSON: json: cannot unmarshal {problem}"
