"""Docker's image references: the grammar, the normalised and the familiar spelling.

`busybox`, `library/busybox:latest` and `docker.io/library/busybox:latest` name the same image: the
last spelling is the normalised one, which containerd's image store uses; the first is the familiar
one, which people see. Everything here is a pure function of text.

Source: github.com/distribution/reference, whose error texts clients know.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final, NewType

from services.errors import InvalidParameter

Digest = NewType("Digest", str)

DEFAULT_DOMAIN: Final = "docker.io"
DEFAULT_TAG: Final = "latest"
PATH_MAX_CHARS: Final = 255

_LEGACY_DOMAIN: Final = "index.docker.io"
_OFFICIAL: Final = "library/"

_COMPONENT: Final = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_LABEL: Final = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN: Final = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_PATH: Final = rf"{_COMPONENT}(?:/{_COMPONENT})*"
_TAG: Final = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST: Final = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"

_REFERENCE: Final = re.compile(
    rf"(?P<domain>{_DOMAIN})/(?P<path>{_PATH})(?::(?P<tag>{_TAG}))?(?:@(?P<digest>{_DIGEST}))?"
)
_IDENTIFIER: Final = re.compile(r"[a-f0-9]{64}")
_ANCHORED_TAG: Final = re.compile(_TAG)
_ANCHORED_DIGEST: Final = re.compile(_DIGEST)
_ID_PREFIX: Final = re.compile(r"(?:sha256:)?(?P<hex>[a-f0-9]{4,64})")
_HEX_CHARS: Final = {"sha256": 64, "sha384": 96, "sha512": 128}

_INVALID: Final = "invalid reference format"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A normalised name, with a tag, a digest, both or neither. Made by `parse_reference`."""

    domain: str  # never empty: "docker.io" unless the name says else
    path: str  # "library/busybox"
    tag: str | None = None
    digest: Digest | None = None

    @property
    def name(self) -> str:
        """The repository, normalised: "docker.io/library/busybox"."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The repository as people write it: "busybox", "someone/app", "localhost:5000/app"."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        short = self.path.removeprefix(_OFFICIAL)
        return self.path if "/" in short else short

    @property
    def familiar(self) -> str:
        """`familiar_name` with what of tag and digest there is."""
        return self.familiar_name + self._suffix()

    @property
    def is_name_only(self) -> bool:
        """Whether there is neither a tag nor a digest."""
        return self.tag is None and self.digest is None

    def tagged(self) -> Reference:
        """Itself; with the default tag where it has neither tag nor digest."""
        return replace(self, tag=DEFAULT_TAG) if self.is_name_only else self

    def check_unambiguous(self) -> None:
        """Raises InvalidParameter for a name to give that would be read as a digest."""
        if self.familiar_name == "sha256":
            raise InvalidParameter(
                "refusing to create an ambiguous tag using digest algorithm as name"
            )

    def with_tag(self, tag: str) -> Reference:
        """The same repository under `tag`, whatever tag or digest this reference has.

        Raises:
            InvalidParameter: not a tag.
        """
        if not _ANCHORED_TAG.fullmatch(tag):
            raise InvalidParameter("invalid tag format")
        return replace(self, tag=tag, digest=None)

    def with_digest(self, digest: Digest) -> Reference:
        """The same repository at `digest`, without a tag."""
        return replace(self, tag=None, digest=digest)

    def _suffix(self) -> str:
        tag = "" if self.tag is None else f":{self.tag}"
        return tag if self.digest is None else f"{tag}@{self.digest}"

    def __str__(self) -> str:
        return self.name + self._suffix()


def parse_reference(text: str) -> Reference:
    """The normalised reference that `text` spells. No default tag is added.

    Raises:
        InvalidParameter: `text` breaks the grammar; dockerd's words.
    """
    if _IDENTIFIER.fullmatch(text):
        raise InvalidParameter(
            f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
        )
    domain, rest = _split_domain(text)
    path = rest.split(":", 1)[0]
    if path.lower() != path:
        raise InvalidParameter(f"{_INVALID}: repository name ({path}) must be lowercase")
    match = _REFERENCE.fullmatch(f"{domain}/{rest}")
    if match is None:
        raise InvalidParameter(_INVALID)
    if len(match["path"]) > PATH_MAX_CHARS:
        raise InvalidParameter(f"repository name must not be more than {PATH_MAX_CHARS} characters")
    digest = None if match["digest"] is None else parse_digest(match["digest"])
    return Reference(domain=match["domain"], path=match["path"], tag=match["tag"], digest=digest)


def parse_any_reference(text: str) -> Reference | Digest:
    """Like `parse_reference`, where a whole digest, with or without "sha256:", is one too.

    Raises:
        InvalidParameter: `text` is neither.
    """
    if _IDENTIFIER.fullmatch(text):
        return Digest(f"sha256:{text}")
    if is_digest(text):
        return Digest(text)
    return parse_reference(text)


def parse_digest(text: str) -> Digest:
    """`text` as a digest of a known algorithm, of the right length, in lower case.

    Raises:
        InvalidParameter: it is not one; the words of opencontainers/go-digest.
    """
    algorithm, _, value = text.partition(":")
    if not _ANCHORED_DIGEST.fullmatch(text) and algorithm not in _HEX_CHARS:
        raise InvalidParameter("invalid checksum digest format")
    if algorithm not in _HEX_CHARS:
        raise InvalidParameter("unsupported digest algorithm")
    if len(value) != _HEX_CHARS[algorithm]:
        raise InvalidParameter("invalid checksum digest length")
    if not re.fullmatch(r"[a-f0-9]+", value):
        raise InvalidParameter("invalid checksum digest format")
    return Digest(text)


def is_digest(text: str) -> bool:
    """Whether `parse_digest` takes `text`."""
    try:
        parse_digest(text)
    except InvalidParameter:
        return False
    return True


def id_prefix(text: str) -> str | None:
    """The hexadecimal part when `text` could be an image ID or the beginning of one, at least 4."""
    match = _ID_PREFIX.fullmatch(text)
    return None if match is None else match["hex"]


def short_id(image_id: str) -> str:
    """The 12 characters that people see of an ID, without the algorithm."""
    return image_id.partition(":")[2][:12] if ":" in image_id else image_id[:12]


def _split_domain(text: str) -> tuple[str, str]:
    """The registry and the rest. A first part without a dot, a port or capitals is no registry."""
    first, slash, rest = text.partition("/")
    if not slash:
        domain, rest = DEFAULT_DOMAIN, text
    elif first == _LEGACY_DOMAIN:
        domain = DEFAULT_DOMAIN
    elif first == "localhost" or "." in first or ":" in first or first.lower() != first:
        domain = first
    else:
        domain, rest = DEFAULT_DOMAIN, text
    if domain == DEFAULT_DOMAIN and "/" not in rest:
        rest = _OFFICIAL + rest
    return domain, rest
