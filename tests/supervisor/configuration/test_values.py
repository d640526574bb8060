"""supervisor.configuration.values: text of flags to values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.configuration.values import (
    Ulimit,
    parse_bool,
    parse_domain,
    parse_int,
    parse_ip,
    parse_label,
    parse_runtime,
    parse_size_bytes,
    parse_ulimit,
)

UNITS = {
    "": 0,
    "b": 0,
    "k": 1,
    "kb": 1,
    "KiB": 1,
    "m": 2,
    "MB": 2,
    "MiB": 2,
    "g": 3,
    "t": 4,
    "P": 5,
}


@given(number=st.integers(0, 4096), unit=st.sampled_from(sorted(UNITS)), space=st.booleans())
def test_sizes_are_powers_of_1024(number: int, unit: str, space: bool) -> None:
    """Any whole number with any unit is exact, with or without a space between them."""
    text = f"{number}{' ' if space else ''}{unit}"
    assert parse_size_bytes(text) == number * 1024 ** UNITS[unit]


@given(st.integers(0, 2**63 - 1))
def test_a_plain_number_of_bytes_is_itself(number: int) -> None:
    """No digit is lost, however large the number is."""
    assert parse_size_bytes(str(number)) == number


@given(st.text(max_size=12))
def test_a_size_is_parsed_or_refused_with_its_text(text: str) -> None:
    """Whatever the text, the answer is a size that fits 64 bits or dockerd's sentence."""
    try:
        assert 0 <= parse_size_bytes(text) < 2**63
    except ValueError as error:
        if str(error) != f"invalid size: '{text}'":
            raise


@pytest.mark.parametrize(
    ("text", "size"), [("1.5g", 3 << 29), ("64m", 64 << 20), (".5k", 512), ("0", 0)]
)
def test_fractions_of_units(text: str, size: int) -> None:
    """A fraction counts in the unit that follows it."""
    assert parse_size_bytes(text) == size


@given(st.text(max_size=6))
def test_a_bool_is_one_of_gos_twelve_words(text: str) -> None:
    """Go's words and no other; the refusal is Go's."""
    words = {"1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"}
    if text in words:
        assert parse_bool(text) is (text.lower() in {"1", "t", "true"})
    else:
        with pytest.raises(ValueError, match=r"strconv\.ParseBool: parsing .*: invalid syntax"):
            parse_bool(text)


@given(st.integers(-(2**63), 2**63 - 1))
def test_integers_in_every_base_of_gos(number: int) -> None:
    """Decimal, hexadecimal, octal in both spellings, binary."""
    sign, size = ("-" if number < 0 else ""), abs(number)
    for text in (f"{size}", f"{size:#x}", f"{size:#o}", f"0{size:o}", f"{size:#b}"):
        assert parse_int(sign + text) == number


@pytest.mark.parametrize("text", ["", "x", "1.5", "08", "0x", " 1", "1_", "1__0", "٣"])
def test_what_go_would_not_read_as_an_integer(text: str) -> None:
    """Python would read some of these; dockerd does not."""
    with pytest.raises(ValueError, match="invalid syntax"):
        parse_int(text)


def test_an_integer_of_more_than_64_bits() -> None:
    """Out of range is told apart from not a number."""
    with pytest.raises(ValueError, match="value out of range"):
        parse_int(str(2**63))


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("nofile=1024", Ulimit(name="nofile", soft=1024, hard=1024)),
        ("nofile=1024:2048", Ulimit(name="nofile", soft=1024, hard=2048)),
        ("core=-1", Ulimit(name="core", soft=-1, hard=-1)),
        ("core=7:-1", Ulimit(name="core", soft=7, hard=-1)),
    ],
)
def test_ulimits(text: str, limit: Ulimit) -> None:
    """One number is both limits; -1 is none."""
    assert parse_ulimit(text) == limit


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nofile", "invalid ulimit argument: nofile"),
        ("files=1", "invalid ulimit type: files"),
        ("nofile=2:1", "ulimit soft limit must be less than or equal to hard limit: 2 > 1"),
        ("nofile=-1:1", "ulimit soft limit must be less than or equal to hard limit: -1 > 1"),
        ("nofile=1:2:3", "too many limit values"),
        ("nofile=x", "invalid syntax"),
    ],
)
def test_ulimits_that_are_refused(text: str, message: str) -> None:
    """Each with dockerd's sentence."""
    with pytest.raises(ValueError, match=message):
        parse_ulimit(text)


def test_addresses_labels_domains_and_runtimes() -> None:
    """The small ones: what they take, and the sentence when they do not."""
    assert str(parse_ip("::1")) == "::1"
    assert parse_label("a=b=c") == "a=b=c"
    assert [parse_domain(text) for text in ("example.com", ".", "a.b.")] == [
        "example.com",
        "",
        "a.b.",
    ]
    assert parse_runtime("crun=/usr/bin/crun").path == "/usr/bin/crun"
    for parse, text, message in (
        (parse_ip, "3q", "3q is not an ip address"),
        (parse_label, "a", "bad attribute format: a"),
        (parse_domain, "a_b!", "a_b! is not a valid domain"),
        (parse_domain, "1.2", "1.2 is not a valid domain"),
        (parse_runtime, "crun", "invalid runtime argument: crun"),
        (parse_runtime, "runc=/x", "runtime name 'runc' is reserved"),
    ):
        with pytest.raises(ValueError, match=message):
            parse(text)
