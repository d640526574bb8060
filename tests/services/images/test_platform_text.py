"""Platforms as people write them."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import InvalidParameter
from services.images import parse_platform
from services.images.platform import host_platform


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("linux/amd64", "linux/amd64"), ("Linux/x86_64", "linux/amd64"), ("arm64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"), ("linux/arm", "linux/arm/v7"),
        ("linux/arm/v6", "linux/arm/v6"), ("windows/amd64", "windows/amd64"),
        ("linux", str(host_platform())),
    ],
)  # fmt: skip
def test_the_normal_form(text: str, normal: str) -> None:
    """What is left out is this machine's."""
    assert str(parse_platform(text)) == normal


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("bogus", '"bogus": unknown operating system or architecture'),
        ("a/b/c/d", '"a/b/c/d": cannot parse platform specifier'),
        ("linux/", '"" is an invalid component of "linux/"'),
        ("linux/a b", '"a b" is an invalid component of "linux/a b"'),
        ("", '"" is an invalid component of ""'),
        ("x" * 5000, "cannot parse platform specifier"),
    ],
)
def test_what_is_none(text: str, words: str) -> None:
    """containerd's words, and never endless ones."""
    with pytest.raises(InvalidParameter) as refused:
        parse_platform(text)
    assert words in str(refused.value)
    assert len(str(refused.value)) < 300


@given(st.text(max_size=40))
def test_anything_may_be_sent(text: str) -> None:
    """A platform or a refusal."""
    with suppress(InvalidParameter):
        found = parse_platform(text)
        assert parse_platform(str(found)) == found
