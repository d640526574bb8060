"""A platform in a query parameter. Source: Engine API, schema OCIPlatform as JSON text."""

from __future__ import annotations

import re

from services.api.wire import decode
from services.errors import InvalidParameter
from services.images import Platform
from services.images.oci import OciPlatform
from services.images.platform import host_platform, normalise

_WORD = re.compile(r"[A-Za-z0-9_-]+")


def parse_platform(text: str) -> Platform:
    """The platform in its normal form.

    Raises:
        InvalidParameter: not JSON, or without operating system or architecture; dockerd's words.
    """
    try:
        platform = decode(text.encode("utf-8", "replace"), OciPlatform)
    except InvalidParameter as error:
        reason = str(error).removeprefix("invalid JSON: ")
        raise InvalidParameter(f"failed to parse platform: {reason}") from error
    if not platform.os and not platform.architecture and platform.variant:
        raise InvalidParameter(
            "optional platform components provided, but OS and Architecture are missing"
        )
    if not platform.os or not platform.architecture:
        raise InvalidParameter("both OS and Architecture must be provided")
    return normalise(platform.os, platform.architecture, platform.variant)


def parse_import_platform(text: str) -> Platform:
    """A platform as people write it: "linux/arm64/v8", or the machine's own system with an
    architecture of its own.

    Raises:
        InvalidParameter: it is none. Source: containerd's platforms.Parse.
    """
    parts = text.split("/")
    if not 1 <= len(parts) <= 3 or not all(_WORD.fullmatch(part) for part in parts):
        raise InvalidParameter(f'"{text}" is an invalid component of a platform: OS/arch/variant')
    if len(parts) == 1:
        return normalise("linux", host_platform().architecture if text == "linux" else text)
    system, architecture, variant = (*parts, "")[:3]
    return normalise(system, architecture, variant)
