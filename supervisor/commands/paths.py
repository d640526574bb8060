"""Parts by the names that people give them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .client import ClientError

Part = dict[str, Any]


def find_part(tree: Part, name: str) -> Part:
    """The part at path `name`, or at the only path that ends so; a container by its name or id.

    Raises:
        ClientError: there is none, or several.
    """
    wanted = name.strip("/")
    parts = list(walk(tree))
    exact = [part for part in parts if wanted in _names(part)]
    found = exact or [part for part in parts if part["path"].endswith(f"/{wanted}")]
    if not found:
        found = [part for part in parts if _id_begins(part, wanted)]
    if not found:
        raise ClientError(f"No such part: {name}")
    if len(found) > 1:
        paths = "".join(f"\n  {part['path']}" for part in found)
        raise ClientError(f"{name} may be any of these:{paths}")
    return found[0]


def walk(part: Part) -> Iterator[Part]:
    """A part and all below it."""
    yield part
    for child in part.get("children", ()):
        yield from walk(child)


def _names(part: Part) -> tuple[str, ...]:
    container = part.get("container")
    names = (part["path"], part["path"].removeprefix("root/"))
    return (*names, container["name"]) if container else names


def _id_begins(part: Part, wanted: str) -> bool:
    container: dict[str, str] = part.get("container") or {"id": ""}
    return len(wanted) >= 4 and container["id"].startswith(wanted)
