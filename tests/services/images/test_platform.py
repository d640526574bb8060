"""Which platform of an image a machine takes."""

from __future__ import annotations

import pytest

from services.images.platform import Platform, normalise, rank


@pytest.mark.parametrize(
    ("spelled", "text"),
    [
        (("linux", "amd64", None), "linux/amd64"),
        (("Linux", "x86_64", ""), "linux/amd64"),
        (("linux", "arm64", "v8"), "linux/arm64"),
        (("linux", "aarch64", None), "linux/arm64"),
        (("linux", "arm", None), "linux/arm/v7"),
        (("linux", "arm", "v6"), "linux/arm/v6"),
        (("linux", "i686", None), "linux/386"),
    ],
)
def test_normal_form(spelled: tuple[str, str, str | None], text: str) -> None:
    """Different spellings of a platform are one."""
    assert str(normalise(*spelled)) == text


def _best(host: Platform, *candidates: Platform) -> Platform | None:
    ranks = {rank(each, host): each for each in candidates if rank(each, host) is not None}
    return ranks[min(ranks, key=lambda r: r or 0)] if ranks else None


def test_choice() -> None:
    """Its own first, then its elders', never another system's or a younger one's."""
    amd64, i386 = normalise("linux", "amd64"), normalise("linux", "386")
    arm64 = normalise("linux", "arm64")
    v7, v6 = normalise("linux", "arm", "v7"), normalise("linux", "arm", "v6")
    assert _best(amd64, i386, amd64) == amd64
    assert _best(amd64, i386, arm64) == i386
    assert _best(arm64, v6, v7) == v7
    assert _best(v6, v7) is None
    assert _best(v6, v6, v7) == v6
    assert _best(amd64, normalise("windows", "amd64")) is None
