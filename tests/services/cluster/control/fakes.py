"""The other sides of the control operations: a registry, local networks, a leader."""

from __future__ import annotations

from collections.abc import Iterable

from services.errors import EngineError


class FakeRegistry:
    """Knows the digest of every image, or of none."""

    def __init__(self, *, is_away: bool = False) -> None:
        self.is_away = is_away
        self.asked: list[tuple[str, str]] = []

    async def pinned(self, image: str, registry_auth: str) -> str:
        self.asked.append((image, registry_auth))
        if self.is_away:
            raise EngineError("no route to the registry")
        return f"{image}@sha256:{'a' * 64}"


class FakeLocalNetworks:
    """One local network, called lan."""

    async def name_of(self, ref: str) -> str | None:
        return "lan" if ref in ("lan", "1a2b") else None


class FakeLeadership:
    """Somebody leads, or nobody."""

    def __init__(self, leader_id: str = "", present: Iterable[str] = ()) -> None:
        self.leader_id = leader_id
        self.present_managers = set(present)
