"""The API versions that are spoken, and what a client outside of them is told.

Source: Engine API, "Versioning"; texts as dockerd's version middleware has them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from services.errors import InvalidParameter

_PREFIX = re.compile(r"/v([0-9.]+)(/.*)\Z", re.DOTALL)


class ApiVersion(NamedTuple):
    """Compares as numbers: 1.9 is older than 1.24."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRow:
    """One change of the API; in force from `since` (if any) to the version before `below`."""

    what: str
    since: ApiVersion | None = None
    below: ApiVersion | None = None

    def is_for(self, version: ApiVersion) -> bool:
        """Whether a client of this version is concerned."""
        return (self.since is None or version >= self.since) and (
            self.below is None or version < self.below
        )


MINIMUM: Final = ApiVersion(1, 24)
CURRENT: Final = ApiVersion(1, 56)
VERSION_KEY: Final = "wharfinger.version"
"""In an ASGI scope: the version that the path named, as text; absent if it named none."""


def split_version(path: str) -> tuple[str | None, str]:
    """`/v1.44/info` -> (`1.44`, `/info`); a path without the prefix comes back as it is."""
    match = _PREFIX.match(path)
    return (match[1], match[2]) if match else (None, path)


def negotiate(text: str | None) -> ApiVersion:
    """The version that a request speaks: the current one if it names none.

    Raises:
        InvalidParameter: outside MINIMUM..CURRENT.
    """
    if text is None:
        return CURRENT
    asked = _parse(text)
    if asked < MINIMUM:
        raise InvalidParameter(
            f"client version {text} is too old. Minimum supported API version is {MINIMUM}, "
            "please upgrade your client to a newer version"
        )
    if asked > CURRENT:
        raise InvalidParameter(
            f"client version {text} is too new. Maximum supported API version is {CURRENT}"
        )
    return asked


def _parse(text: str) -> ApiVersion:
    """As dockerd compares: missing or empty parts are 0, those after the second do not matter."""
    parts = [int(part[:9]) if part else 0 for part in text.split(".")]
    return ApiVersion(parts[0], parts[1] if len(parts) > 1 else 0)
