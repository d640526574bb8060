"""Which manifest of an index is meant. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from services.images.oci import ANNOTATION_REFERENCE_TYPE, OciDescriptor
from services.images.platform import Platform, from_oci, rank

_UNSAID: Final = 200  # an entry without a platform may be anything: the last choice


def choose(
    manifests: Sequence[OciDescriptor], wanted: Platform, *, strict: bool
) -> OciDescriptor | None:
    """The entry that suits `wanted` best; None when none does.

    `strict`: the platform was asked for by name; what a machine of it runs besides is not meant.
    """
    ranked = [
        (fit, number)
        for number, one in enumerate(manifests)
        if (fit := _fit(one, wanted, strict=strict)) is not None
    ]
    return manifests[min(ranked)[1]] if ranked else None


def _fit(one: OciDescriptor, wanted: Platform, *, strict: bool) -> int | None:
    if one.annotation(ANNOTATION_REFERENCE_TYPE):  # an attestation
        return None
    if one.platform is None or not one.platform.os:
        return _UNSAID
    said = from_oci(one.platform)
    if strict and said.architecture != wanted.architecture:
        return None
    return rank(said, wanted)
