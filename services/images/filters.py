"""Which images a list shows. The wire's spelling is parsed by the API; these are its values.

Source: Engine API, GET /images/json; moby, daemon/containerd/image_list.go.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from services.errors import InvalidParameter

from .catalog import Catalog, find
from .model import Image

Predicate = Callable[[Image], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFilters:
    """All that is given must hold; of `references` one. Empty means all images."""

    dangling: bool | None = None
    labels: tuple[str, ...] = ()  # "key" or "key=value"
    not_labels: tuple[str, ...] = ()
    before: tuple[str, ...] = ()  # images that are older than this one
    since: tuple[str, ...] = ()  # images that are newer than this one
    references: tuple[str, ...] = ()  # patterns as in a shell, for the familiar spelling
    until_ns: int | None = None  # images that were created before


def select(catalog: Catalog, filters: ImageFilters) -> tuple[Image, ...]:
    """The images that `filters` let through, newest first.

    Raises:
        NotFound: `before` or `since` name an image that is not there.
        InvalidParameter: a pattern or a name is malformed.
    """
    predicates = [*_age(catalog, filters), *_labels(filters)]
    if filters.dangling is not None:
        predicates.append(lambda image: image.is_dangling is filters.dangling)
    if filters.references:
        patterns = [_compile_pattern(pattern) for pattern in filters.references]
        predicates.append(lambda image: any(_has_name(image, pattern) for pattern in patterns))
    shown = (image for image in catalog if not image.is_hidden)
    return tuple(image for image in shown if all(holds(image) for holds in predicates))


def _age(catalog: Catalog, filters: ImageFilters) -> list[Predicate]:
    predicates: list[Predicate] = []
    for text in filters.before:
        before_ns = find(catalog, text).image.created_at_ns
        if before_ns is not None:
            predicates.append(partial(_is_created_between, after_ns=None, before_ns=before_ns))
    for text in filters.since:
        since_ns = find(catalog, text).image.created_at_ns
        if since_ns is not None:
            predicates.append(partial(_is_created_between, after_ns=since_ns, before_ns=None))
    if (until_ns := filters.until_ns) is not None:
        predicates.append(partial(_is_created_between, after_ns=None, before_ns=until_ns))
    return predicates


def _is_created_between(image: Image, *, after_ns: int | None, before_ns: int | None) -> bool:
    """Strictly between; an image that does not say when it was made is neither."""
    at = image.created_at_ns
    if at is None:
        return False
    return (after_ns is None or at > after_ns) and (before_ns is None or at < before_ns)


def _labels(filters: ImageFilters) -> list[Predicate]:
    return [
        *(partial(_has_label, text) for text in filters.labels),
        *((lambda image, text=text: not _has_label(text, image)) for text in filters.not_labels),
    ]


def _has_label(text: str, image: Image) -> bool:
    key, equals, value = text.partition("=")
    found = image.labels.get(key)
    return found is not None and (not equals or found == value)


def _has_name(image: Image, pattern: re.Pattern[str]) -> bool:
    """Whether the pattern takes a name of the image, with its tag or without."""
    for name in image.names:
        reference = name.reference
        if reference is not None and (
            pattern.fullmatch(reference.familiar) or pattern.fullmatch(reference.familiar_name)
        ):
            return True
    return False


def _compile_pattern(pattern: str) -> re.Pattern[str]:
    """Go's path.Match: `*` and `?` do not take a slash, `[a-z]`, `[^a-z]`, and backslash quotes."""
    expression, rest = "", pattern
    while rest:
        character, rest = rest[0], rest[1:]
        match character:
            case "*":
                expression += "[^/]*"
            case "?":
                expression += "[^/]"
            case "\\" if rest:
                expression, rest = expression + re.escape(rest[0]), rest[1:]
            case "[":
                part, bracket, rest = rest.partition("]")
                if not bracket or part in ("", "^"):
                    raise InvalidParameter(
                        f"invalid reference filter {pattern!r}: syntax error in pattern"
                    )
                negated, members = part.startswith("^"), part.removeprefix("^")
                quoted = re.sub(r"([\\\[&~|^])", r"\\\1", members)
                expression += f"[{'^' if negated else ''}{quoted}]"
            case _:
                expression += re.escape(character)
    try:
        return re.compile(expression)
    except re.error as error:
        raise InvalidParameter(
            f"invalid reference filter {pattern!r}: syntax error in pattern"
        ) from error
