"""Which steps of an image from elsewhere a build may take."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from services.build.reuse import CacheSources, Reused
from services.images import HistoryEntry, Image, ImageConfig, OciDescriptor
from services.images.model import Manifest
from services.images.oci import RootFs
from services.images.platform import normalise
from tests.services.images.samples import image

NOP = "/bin/sh -c #(nop) "


def made_by(*steps: str, architecture: str = "amd64", is_here: bool = True) -> Image:
    """An image of these steps; those that ran no command have no layer."""
    entries = [
        HistoryEntry(created="t", created_by=step, empty_layer=step.startswith(NOP) or None)
        for step in steps
    ]
    layers = [f"layer {step}" for step in steps if not step.startswith(NOP)]
    target = OciDescriptor(media_type="m", digest=f"sha256:{hash(steps)}", size=1)
    return replace(
        image("a"),
        manifest=target,
        manifests=(
            Manifest(
                descriptor=target, kind="image", is_available=is_here, content_bytes=0,
                unpacked_bytes=0, platform=None,
            ),
        ),
        config=ImageConfig(history=entries, rootfs=RootFs(diff_ids=layers)),
        layers=tuple(OciDescriptor(media_type="l", digest=name, size=1) for name in layers),
        platform=normalise("linux", architecture),
    )  # fmt: skip


BASE = made_by("base")
BUILT = made_by("base", f"{NOP}ENV A=1", "RUN a", f"{NOP}LABEL b=1", f"{NOP}CMD c")
ENV = HistoryEntry(created="now", created_by=f"{NOP}ENV A=1", empty_layer=True)


def found(step: str, *pending: HistoryEntry, base: Image = BASE, sources: Any = (BUILT,)) -> Any:
    return CacheSources(sources).find(base, pending, step)


def test_a_step_with_a_layer() -> None:
    """It comes with what was said before it, and with its own time."""
    reused = found("RUN a", ENV)
    assert isinstance(reused, Reused)
    assert [entry.created for entry in reused.entries] == ["t", "t"]
    assert reused.layer is not None
    assert reused.layer.diff_id == "layer RUN a"


def test_a_step_without_a_layer() -> None:
    """As at the end of a Dockerfile."""
    base = made_by("base", f"{NOP}ENV A=1", "RUN a")
    label = HistoryEntry(created="now", created_by=f"{NOP} LABEL b=1", empty_layer=True)
    reused = found(f"{NOP}CMD c", label, base=base)
    assert reused.layer is None
    assert len(reused.entries) == 2


def test_what_is_not_the_same() -> None:
    """Another step, another one before it, another base, another platform; or not all is here."""
    assert found("RUN b", ENV) is None
    assert found("RUN a") is None
    assert found("RUN a", replace_text(ENV, f"{NOP}ENV A=2")) is None
    assert found("RUN a", ENV, base=made_by("other")) is None
    assert found("RUN a", ENV, base=made_by("base", architecture="arm64")) is None
    layered = replace_text(ENV, "base")
    assert found("RUN a", layered, base=made_by()) is None
    assert found("RUN a", ENV, sources=[made_by("base")]) is None
    missing = made_by("base", f"{NOP}ENV A=1", "RUN a", is_here=False)
    assert found("RUN a", ENV, sources=[missing]) is None


def test_one_source_is_kept_to() -> None:
    """Steps of one image were made of one another."""
    other = made_by("base", f"{NOP}ENV A=1", "RUN a", "RUN z")
    sources = CacheSources([BUILT, other])
    assert sources.find(BASE, [ENV], "RUN a") is not None
    after = made_by("base", f"{NOP}ENV A=1", "RUN a")
    assert sources.find(after, [], "RUN z") is None
    assert CacheSources([BUILT, other]).find(after, [], "RUN z") is not None


def replace_text(entry: HistoryEntry, text: str) -> HistoryEntry:
    """The same line with another text."""
    return HistoryEntry(created=entry.created, created_by=text, empty_layer=entry.empty_layer)
