"""A platform in a query parameter. Source: Engine API, schema OCIPlatform as JSON text."""

from __future__ import annotations

from services.api.wire.json_bodies import decode
from services.errors import InvalidParameter
from services.images import Platform
from services.images.oci import OciPlatform
from services.images.platform import host_platform, normalise, parse_specifier


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
    return parse_specifier(text, host_platform())
