"""Names of devices: vendor/class=name. Source: CDI, pkg/parser."""

from __future__ import annotations

import json
import re
from typing import Final

_KIND_PART: Final = re.compile(r"[A-Za-z](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?")
_DEVICE: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.:-]*[A-Za-z0-9])?")
_ANNOTATION: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9](?:[\w.-]*\w)?")


class CdiError(ValueError):
    """A file or a device of CDI's that cannot be used; the text says why."""


def split_kind(kind: str) -> tuple[str, str]:
    """The vendor and class of "vendor.com/class".

    Raises:
        CdiError: it is none.
    """
    vendor, separator, class_ = kind.partition("/")
    if not separator or not vendor or not class_:
        vendor, class_ = "", kind
    for what, name in (("vendor", vendor), ("class", class_)):
        if not name:
            raise CdiError(f"invalid {what}. empty name")
        if not _KIND_PART.fullmatch(name):
            raise CdiError(
                f"invalid {what}. {json.dumps(name)}: a letter, then letters, digits and -_. are "
                "allowed, with a letter or digit at the end"
            )
    return vendor, class_


def check_device_name(name: str) -> None:
    """Raise CdiError for what is no name of a device."""
    if not name:
        raise CdiError("invalid (empty) device name")
    if not _DEVICE.fullmatch(name):
        raise CdiError(
            f"invalid device name {json.dumps(name)}: letters, digits and -_.: are allowed, with a "
            "letter or digit at both ends"
        )


def check_annotation_name(name: str) -> None:
    """Raise CdiError for what is no key of an annotation."""
    if not _ANNOTATION.fullmatch(name):
        raise CdiError(f"invalid annotation key {json.dumps(name)}")
