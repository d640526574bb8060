"""Names inside an archive. Nothing is written to them; they only tell one entry from another."""

from __future__ import annotations

import posixpath

from services.errors import InvalidParameter


def clean_path(name: str) -> str:
    """`name` in its one spelling: "./a//b/" is "a/b"; the archive's root is ".".

    Raises:
        InvalidParameter: absolute, or leaves the archive.
    """
    if name.startswith("/"):
        raise InvalidParameter(f"invalid archive: absolute path {name!r}")
    return _inside(posixpath.normpath(name), name)


def link_target(link: str, target: str, *, is_symbolic: bool) -> str:
    """The entry that the link at `link` (a clean path) points to; a hard link counts from the root.

    Raises:
        InvalidParameter: the target is absolute or outside the archive.
    """
    if target.startswith("/"):
        raise InvalidParameter(f"invalid archive: link {link!r} has the absolute target {target!r}")
    base = posixpath.dirname(link) if is_symbolic else ""
    return _inside(posixpath.normpath(posixpath.join(base, target)), target)


def _inside(path: str, name: str) -> str:
    if path == ".." or path.startswith("../"):
        raise InvalidParameter(f"invalid archive: path {name!r} leaves the archive")
    return path
