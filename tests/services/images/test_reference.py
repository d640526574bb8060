"""Image references: Docker's grammar and dockerd's words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import InvalidParameter
from services.images.reference import (
    Reference,
    id_prefix,
    parse_any_reference,
    parse_digest,
    parse_reference,
    short_id,
)

HEX64 = "0123456789abcdef" * 4

COMPONENTS = st.from_regex(r"[a-z0-9]{1,8}((\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}", fullmatch=True)
DOMAINS = st.one_of(
    st.just("localhost"),
    st.from_regex(r"[a-zA-Z0-9]{1,5}(\.[a-z0-9]{1,5}){1,2}(:[0-9]{1,5})?", fullmatch=True),
    st.from_regex(r"localhost:[0-9]{1,5}", fullmatch=True),
    st.just("[::1]:5000"),
)
TAGS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
DIGESTS = st.from_regex(r"sha256:[a-f0-9]{64}", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "normalised", "familiar"),
    [
        ("busybox", "docker.io/library/busybox", "busybox"),
        ("library/busybox", "docker.io/library/busybox", "busybox"),
        ("docker.io/busybox:1", "docker.io/library/busybox:1", "busybox:1"),
        ("index.docker.io/a/b", "docker.io/a/b", "a/b"),
        ("a/b", "docker.io/a/b", "a/b"),
        ("docker.io/library/a/b", "docker.io/library/a/b", "library/a/b"),
        ("localhost/x", "localhost/x", "localhost/x"),
        ("localhost:5000/x:y", "localhost:5000/x:y", "localhost:5000/x:y"),
        ("HOST/x", "HOST/x", "HOST/x"),
        ("[::1]:5000/x", "[::1]:5000/x", "[::1]:5000/x"),
        ("a.b/c/d:E_f", "a.b/c/d:E_f", "a.b/c/d:E_f"),
        (f"x@sha256:{HEX64}", f"docker.io/library/x@sha256:{HEX64}", f"x@sha256:{HEX64}"),
        (f"x:t@sha256:{HEX64}", f"docker.io/library/x:t@sha256:{HEX64}", f"x:t@sha256:{HEX64}"),
        ("a--b__c.d", "docker.io/library/a--b__c.d", "a--b__c.d"),
        ("x" * 247, "docker.io/library/" + "x" * 247, "x" * 247),
        ("x:" + "t" * 128, "docker.io/library/x:" + "t" * 128, "x:" + "t" * 128),
    ],
)
def test_spellings(text: str, normalised: str, familiar: str) -> None:
    """Each spelling has one normalised and one familiar form."""
    reference = parse_reference(text)
    assert (str(reference), reference.familiar) == (normalised, familiar)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid reference format"),
        ("foo bar", "invalid reference format"),
        ("foo:", "invalid reference format"),
        ("foo:\u0661", "invalid reference format"),
        ("foo\n", "invalid reference format"),
        ("-foo", "invalid reference format"),
        ("a..b", "invalid reference format"),
        ("a___b", "invalid reference format"),
        ("x:" + "t" * 129, "invalid reference format"),
        ("a@sha256:abc", "invalid reference format"),
        ("Foo", "invalid reference format: repository name (library/Foo) must be lowercase"),
        ("Foo:x", "invalid reference format: repository name (library/Foo) must be lowercase"),
        ("localhost/Foo", "invalid reference format: repository name (Foo) must be lowercase"),
        (HEX64, f"invalid repository name ({HEX64}), cannot specify 64-byte hexadecimal strings"),
        ("x" * 248, "repository name must not be more than 255 characters"),
        ("x@md5:" + "0" * 32, "unsupported digest algorithm"),
        ("x@sha256:" + "0" * 63, "invalid checksum digest length"),
        ("x@sha256:" + "A" * 64, "invalid checksum digest format"),
    ],
)
def test_refusals(text: str, message: str) -> None:
    """What breaks the grammar is refused in dockerd's words."""
    with pytest.raises(InvalidParameter) as refusal:
        parse_reference(text)
    assert str(refusal.value) == message


@given(
    domain=DOMAINS,
    path=st.lists(COMPONENTS, min_size=1, max_size=3).map("/".join),
    tag=st.none() | TAGS,
    digest=st.none() | DIGESTS,
)
def test_parsing_is_a_fixed_point(
    domain: str, path: str, tag: str | None, digest: str | None
) -> None:
    """A reference made of valid parts is read back as those parts, from both of its spellings."""
    text = f"{domain}/{path}" + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
    reference = parse_reference(text)
    assert str(reference) == text
    assert parse_reference(reference.familiar) == reference
    assert (reference.domain, reference.path, reference.tag) == (domain, path, tag)


@given(st.text(alphabet="aA0.:/@-_ \n[]", max_size=30) | st.text(max_size=20))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    """No text makes the parser fail otherwise; what it takes it takes again in normal form."""
    try:
        reference = parse_reference(text)
    except InvalidParameter:
        return
    assert parse_reference(str(reference)) == reference
    assert parse_reference(reference.familiar) == reference


def test_default_tag_is_for_names_only() -> None:
    """latest is added where there is neither tag nor digest."""
    digest = f"sha256:{HEX64}"
    assert parse_reference("x").tagged().tag == "latest"
    assert parse_reference("x:1").tagged().tag == "1"
    assert parse_reference(f"x@{digest}").tagged().tag is None


def test_tag_is_checked() -> None:
    """A tag given apart from the name obeys the grammar too."""
    assert parse_reference("x@sha256:" + HEX64).with_tag("y").familiar == "x:y"
    with pytest.raises(InvalidParameter, match="invalid tag format"):
        parse_reference("x").with_tag("a/b")


def test_whole_digests_are_ids() -> None:
    """Where IDs are taken, 64 hexadecimal characters are one, with sha256: or without."""
    assert parse_any_reference(HEX64) == f"sha256:{HEX64}"
    assert parse_any_reference(f"sha256:{HEX64}") == f"sha256:{HEX64}"
    assert isinstance(parse_any_reference("abcd"), Reference)


@pytest.mark.parametrize(
    ("text", "prefix"),
    [
        ("abcd", "abcd"), ("sha256:abcd", "abcd"), ("abc", None), ("ABCD", None), ("abcg", None),
        (HEX64, HEX64), (HEX64 + "0", None), ("sha512:abcd", None),
    ],
)  # fmt: skip
def test_id_prefixes(text: str, prefix: str | None) -> None:
    """The beginning of an ID is four lower-case hexadecimal characters or more."""
    assert id_prefix(text) == prefix


def test_short_ids() -> None:
    """People see twelve characters."""
    assert short_id(f"sha256:{HEX64}") == short_id(HEX64) == HEX64[:12]


def test_other_algorithms() -> None:
    """sha512 is known, and has its own length."""
    assert parse_digest("sha512:" + "0" * 128)
    with pytest.raises(InvalidParameter, match="length"):
        parse_digest("sha512:" + "0" * 64)
