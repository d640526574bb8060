"""Which manifest of a list is taken."""

from __future__ import annotations

import pytest

from services.errors import InvalidParameter
from services.images.oci import OciDescriptor, OciPlatform
from services.images.platform import Platform, normalise, parse_specifier
from services.registry.choice import choose
from services.registry.manifests import document_type
from services.registry.search import split_term

AMD64 = normalise("linux", "amd64")


def entry(text: str, **fields: object) -> OciDescriptor:
    os, _, rest = text.partition("/")
    architecture, _, variant = rest.partition("/")
    platform = OciPlatform(os=os, architecture=architecture, variant=variant) if text else None
    return OciDescriptor(digest=text, size=1, platform=platform, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("entries", "wanted", "strict", "expected"),
    [
        (["linux/arm64", "linux/amd64"], "linux/amd64", False, "linux/amd64"),
        (["linux/386"], "linux/amd64", False, "linux/386"),
        (["linux/386"], "linux/amd64", True, None),
        (["linux/arm/v6", "linux/arm/v7"], "linux/arm/v7", True, "linux/arm/v7"),
        (["linux/arm/v6"], "linux/arm/v7", True, "linux/arm/v6"),
        (["linux/arm/v7"], "linux/arm/v6", True, None),
        (["windows/amd64"], "linux/amd64", False, None),
        (["", "linux/amd64"], "linux/amd64", False, "linux/amd64"),
        ([""], "linux/amd64", False, ""),
        ([], "linux/amd64", False, None),
    ],
)
def test_the_best_one(entries: list[str], wanted: str, strict: bool, expected: str | None) -> None:
    """The same platform, else one that the machine runs too, unless it was asked for by name."""
    chosen = choose(list(map(entry, entries)), parse_specifier(wanted, AMD64), strict=strict)
    assert (None if chosen is None else chosen.digest) == expected


def test_attestations_are_no_images() -> None:
    """Even where they say no platform."""
    annotations = {"vnd.docker.reference.type": "attestation-manifest"}
    assert choose([entry("", annotations=annotations)], AMD64, strict=False) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/arm64/v8", Platform(os="linux", architecture="arm64")),
        ("arm64", Platform(os="linux", architecture="arm64")),
        ("x86_64", AMD64),
        ("linux", AMD64),
        ("linux/arm", Platform(os="linux", architecture="arm", variant="v7")),
    ],
)
def test_platforms_as_people_write_them(text: str, expected: Platform) -> None:
    """System, architecture, variant; or one of the first two alone."""
    assert parse_specifier(text, AMD64) == expected


@pytest.mark.parametrize("text", ["", "a/b/c/d", "linux/", "nosuch", "linux/a b"])
def test_no_platforms(text: str) -> None:
    """Refused."""
    with pytest.raises(InvalidParameter, match="invalid argument"):
        parse_specifier(text, AMD64)


@pytest.mark.parametrize(
    ("data", "said", "expected"),
    [
        (b'{"manifests":[]}', "", "application/vnd.oci.image.index.v1+json"),
        (b'{"config":{},"layers":[]}', "", "application/vnd.oci.image.manifest.v1+json"),
        (
            b'{"config":{}}',
            "application/vnd.docker.distribution.manifest.v2+json",
            "application/vnd.docker.distribution.manifest.v2+json",
        ),
        (b'{"fsLayers":[]}', "", "application/vnd.docker.distribution.manifest.v1+json"),
    ],
)
def test_kinds_of_documents(data: bytes, said: str, expected: str) -> None:
    """What a document says of itself, else what came with it, else what it looks like."""
    assert document_type(data, said) == expected


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ("busybox", ("docker.io", "busybox")),
        ("library/busybox", ("docker.io", "busybox")),
        ("docker.io/library/busybox", ("docker.io", "busybox")),
        ("someone/app", ("docker.io", "someone/app")),
        ("host:5000/app", ("host:5000", "app")),
        ("localhost/app", ("localhost", "app")),
    ],
)
def test_where_a_term_is_searched(term: str, expected: tuple[str, str]) -> None:
    """At the registry that it names, else at Docker Hub."""
    assert split_term(term) == expected
