"""in-toto statements that stand beside an image in its index.

Source: Engine API, ImageAttestations; moby, daemon/containerd/image_attestations.go; BuildKit,
docs/attestations/attestation-storage.md.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import msgspec

from services.errors import EngineError, NotFound

from .model import Image
from .oci import INDEX_TYPES, MAX_DOCUMENT_BYTES, OciDescriptor
from .platform import Platform, rank
from .ports import ContentClient
from .survey import Survey, Surveyor

PREDICATE_TYPE: Final = "in-toto.io/predicate-type"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestation:
    """One statement. `statement` is its text, if that was asked for."""

    descriptor: OciDescriptor
    predicate_type: str
    statement: msgspec.Raw | None = None


async def read_attestations(
    image: Image,
    platform: Platform,
    *,
    content: ContentClient,
    predicate_types: Collection[str] = (),
    with_statements: bool = False,
) -> tuple[Attestation, ...]:
    """The statements about the manifest of `platform`, in the order of the attestation's layers.

    Raises:
        NotFound: the image has no such platform.
        EngineError: a statement is not here, or is no JSON.
    """
    if image.target.media_type not in INDEX_TYPES:
        return ()
    survey = await Surveyor(content).survey(image.target)
    subject = _subject(survey, platform)
    found: list[Attestation] = []
    for variant in survey.variants:
        if variant.attests != subject or variant.manifest is None:
            continue
        for layer in variant.layers:
            kind = layer.annotation(PREDICATE_TYPE)
            if not kind or (predicate_types and kind not in predicate_types):
                continue
            text = await _statement(content, layer) if with_statements else None
            found.append(Attestation(descriptor=layer, predicate_type=kind, statement=text))
        break
    return tuple(found)


def _subject(survey: Survey, platform: Platform) -> str:
    ranked = [
        (fit, variant.descriptor.digest)
        for variant in survey.variants
        if not variant.attests
        and variant.platform is not None
        and (fit := rank(variant.platform, platform)) is not None
    ]
    if not ranked:
        raise NotFound(f"no manifest found for platform {platform} in {survey.target.digest}")
    return min(ranked)[1]


async def _statement(content: ContentClient, layer: OciDescriptor) -> msgspec.Raw:
    try:
        data = await content.read_all(layer.digest, MAX_DOCUMENT_BYTES)
    except NotFound as error:
        raise EngineError(
            f"attestation statement {layer.digest} is not available locally"
        ) from error
    try:
        return msgspec.Raw(msgspec.json.format(data, indent=0))  # checks that it is JSON
    except msgspec.DecodeError as error:
        raise EngineError(
            f"failed to read attestation statement {layer.digest}: {error}"
        ) from error
