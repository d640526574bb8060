"""What the observer needs of the metrics, which it passes on."""

# ruff: noqa: D102

from __future__ import annotations

from typing import Protocol


class Scrape(Protocol):
    """All metrics in one of Prometheus' text formats."""

    @property
    def content_type(self) -> str: ...
    @property
    def body(self) -> bytes: ...


class RenderMetrics(Protocol):
    """Renders the metrics of now in the format that an Accept field prefers."""

    async def __call__(self, *, accept: str) -> Scrape: ...
