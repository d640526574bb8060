"""An image reference without its tag, as `docker events --filter image=` compares it."""

from __future__ import annotations

import re
from typing import Final

# The grammar of the distribution project (github.com/distribution/reference, grammar).
_COMPONENT: Final = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REMAINDER: Final = re.compile(
    rf"(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
    r"(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?"
)
_DOMAIN_PART: Final = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN: Final = re.compile(
    rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
)
_IDENTIFIER: Final = re.compile(r"[a-f0-9]{64}")
_MAX_NAME: Final = 255


def familiar_name(reference: str) -> str:
    """`reference` without tag and digest, and without the default registry and `library/`.

    What is no reference is returned as it is.
    """
    if _IDENTIFIER.fullmatch(reference):
        return reference
    domain, remainder = _split_domain(reference)
    match = _REMAINDER.fullmatch(remainder)
    if match is None or not _DOMAIN.fullmatch(domain):
        return reference
    path = match["path"]
    if len(path) > _MAX_NAME:
        return reference
    if domain != "docker.io":
        return f"{domain}/{path}"
    head, slash, tail = path.partition("/")
    return tail if slash and head == "library" and "/" not in tail else path


def _split_domain(reference: str) -> tuple[str, str]:
    head, slash, tail = reference.partition("/")
    is_domain = slash and (
        "." in head or ":" in head or head == "localhost" or head != head.lower()
    )
    domain, remainder = (head, tail) if is_domain else ("docker.io", reference)
    return ("docker.io" if domain == "index.docker.io" else domain), remainder
