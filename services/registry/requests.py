"""What a client wants of a registry: values, light enough for the routes to make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.images.oci import OciDescriptor, OciPlatform
from services.images.platform import Platform
from services.images.reference import Reference

from .credentials import ANONYMOUS, Credentials


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequest:
    """`docker pull`. A name alone means all its tags; no platform, the machine's."""

    reference: Reference
    platform: Platform | None = None
    credentials: Credentials = ANONYMOUS

    def __str__(self) -> str:
        platform = "" if self.platform is None else f" for {self.platform}"
        return f"pull of {self.reference.familiar}{platform}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PushRequest:
    """`docker push`. A name alone means all tags of it that are here."""

    reference: Reference
    platform: Platform | None = None
    credentials: Credentials = ANONYMOUS

    def __str__(self) -> str:
        return f"push of {self.reference.familiar}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Credentials were good. `identity_token`, if any, is to be kept instead of the password."""

    identity_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """What a registry says of an image that need not be here."""

    descriptor: OciDescriptor
    platforms: tuple[OciPlatform, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest:
    """`docker search`. Of a filter with no values nothing is asked."""

    term: str
    limit: int = 0  # 0: as many as the registry likes
    is_official: bool | None = None
    is_automated: bool | None = None
    least_stars: int = 0
    credentials: Credentials = ANONYMOUS
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """A repository that a registry found."""

    name: str
    description: str
    star_count: int
    is_official: bool
    is_automated: bool
