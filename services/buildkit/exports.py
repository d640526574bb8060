"""What becomes of a built image: names, and pushes. Source: BuildKit, exporter/containerimage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from protos.generated.moby.buildkit.v1 import SolveRequest
from services.errors import InvalidParameter, NotSupported
from services.images import Reference, parse_reference

IMAGE_TYPES: Final = frozenset(("moby", "image"))
_TRUE: Final = frozenset(("1", "t", "true", "yes"))
# What is always so here, or says how layers are written, which they are once for all images.
_PASSED_OVER: Final = frozenset(
    (
        *("unpack", "dangling-name-prefix", "name-canonical", "compression", "compression-level"),
        *("force-compression", "oci-mediatypes", "registry.insecure", "store", "buildinfo"),
        *("load", "prefer-nondist-layers", "rewrite-timestamp", "danglingNamePrefix"),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """An image that is to be seen under `references`, or without a name; then pushed, perhaps."""

    references: tuple[Reference, ...]
    pushes: bool = False


def read_export(request: SolveRequest) -> Export | None:
    """What is to become of a Solve's result; None for nothing but a warm cache.

    Raises:
        NotSupported: another kind of result than an image; a sentence says which.
        InvalidParameter: a name that is none.
    """
    asked = [(one.type, one.attrs) for one in request.exporters]
    if not asked and request.exporter_deprecated:
        asked = [(request.exporter_deprecated, request.exporter_attrs_deprecated)]
    if not asked:
        return None
    names: dict[Reference, None] = {}
    pushes = False
    for type_, attributes in asked:
        if type_ not in IMAGE_TYPES:
            raise NotSupported(
                f"the output type {type_!r} is not supported: results are images of this engine "
                "(docker save and docker cp take them out)"
            )
        names |= dict.fromkeys(_references(attributes.get("name", "")))
        pushes = pushes or _is_true(attributes, "push")
        _check(attributes)
    if pushes and not names:
        raise InvalidParameter("tag is needed when pushing to registry")
    return Export(references=tuple(names), pushes=pushes)


def check_caches(exports: Sequence[str], imports: Sequence[str]) -> None:
    """The kinds of caches that a client wants written and read.

    Raises:
        NotSupported: one that this engine does not have.
    """
    for kind in exports:
        if kind != "inline":
            raise NotSupported(
                f"cache export of type {kind!r} is not supported: steps are kept in the engine"
            )
    for kind in imports:
        if kind != "registry":
            raise NotSupported(f"cache import of type {kind!r} is not supported")


def _references(names: str) -> list[Reference]:
    found = []
    for text in filter(None, names.split(",")):
        reference = parse_reference(text)
        if reference.digest is not None:
            raise InvalidParameter("build tag cannot contain a digest")
        reference.check_unambiguous()
        found.append(reference.tagged())
    return found


def _check(attributes: Mapping[str, str]) -> None:
    for name, value in attributes.items():
        if name in ("name", "push") or name in _PASSED_OVER:
            continue
        if value.lower() not in ("", "0", "false"):
            raise NotSupported(f"the output option {name}={value} is not supported")


def _is_true(attributes: Mapping[str, str], name: str) -> bool:
    return attributes.get(name, "").lower() in _TRUE
