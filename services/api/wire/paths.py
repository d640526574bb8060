"""Paths of requests as dockerd's router takes them."""

from __future__ import annotations

import posixpath


def clean_path(path: str) -> str:
    """The path without empty, `.` and `..` segments; a trailing slash stays.

    Source: Go's path.Clean, as gorilla/mux applies it.
    """
    cleaned = posixpath.normpath("/" + path.lstrip("/"))
    return cleaned + "/" if path.endswith("/") and cleaned != "/" else cleaned
