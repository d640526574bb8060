"""Images pinned to the digest that they have at their registry."""

from __future__ import annotations

from base64 import urlsafe_b64encode

import pytest

from services.cluster.control.digests import RegistryDigests
from services.errors import EngineError, InvalidParameter
from services.images.oci import OciDescriptor
from services.images.reference import Digest, Reference
from services.registry.credentials import ANONYMOUS, Credentials
from services.registry.requests import Distribution

DIGEST = Digest(f"sha256:{'a' * 64}")
AUTH = urlsafe_b64encode(b'{"username": "me", "password": "secret"}').decode()


class FakeRegistry:
    """Has every image, at one digest."""

    def __init__(self, *, is_away: bool = False) -> None:
        self._is_away = is_away
        self.asked: list[tuple[str, Credentials]] = []

    async def inspect(self, reference: Reference, credentials: Credentials) -> Distribution:
        self.asked.append((reference.familiar, credentials))
        if self._is_away:
            raise EngineError("no route")
        descriptor = OciDescriptor(media_type="application/json", digest=DIGEST, size=1)
        return Distribution(descriptor=descriptor, platforms=())


@pytest.mark.parametrize(
    ("image", "pinned"),
    [
        ("busybox", f"busybox:latest@{DIGEST}"),
        ("docker.io/library/busybox:1", f"busybox:1@{DIGEST}"),
        ("r.example:5000/app:v1", f"r.example:5000/app:v1@{DIGEST}"),
    ],
)
async def test_an_image_keeps_its_tag(image: str, pinned: str) -> None:
    """People see it; nodes go by the digest."""
    assert await RegistryDigests(FakeRegistry()).pinned(image, "") == pinned


async def test_a_digest_is_not_asked_about() -> None:
    """It is what would be answered."""
    registry = FakeRegistry()
    assert await RegistryDigests(registry).pinned(f"busybox@{DIGEST}", "") == f"busybox@{DIGEST}"
    assert registry.asked == []


async def test_credentials_go_along() -> None:
    """What cannot be read counts as none, as dockerd's."""
    registry = FakeRegistry()
    for auth in (AUTH, "%", ""):
        await RegistryDigests(registry).pinned("busybox", auth)
    known, broken, none = (credentials for _, credentials in registry.asked)
    assert (known.username, known.password) == ("me", "secret")
    assert (broken, none) == (ANONYMOUS, ANONYMOUS)


async def test_what_goes_wrong_is_the_callers() -> None:
    """A registry that is away, and a name that is none."""
    with pytest.raises(EngineError, match="no route"):
        await RegistryDigests(FakeRegistry(is_away=True)).pinned("busybox", "")
    with pytest.raises(InvalidParameter):
        await RegistryDigests(FakeRegistry()).pinned("A:B:C", "")
