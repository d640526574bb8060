"""Limits of a process: rlimits and the OOM score, held to what this engine is able to set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from services.containers.config import Ulimit
from services.containers.spec.values import Json
from services.errors import InvalidParameter
from services.system import UNLIMITED, HostFacts

RLIMIT_NAMES: Final = frozenset(
    ("as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile",
     "nproc", "rss", "rtprio", "rttime", "sigpending", "stack")
)  # fmt: skip


def merge_ulimits(own: Sequence[Ulimit], defaults: Sequence[Ulimit]) -> list[Ulimit]:
    """The container's, then those of the daemon that it does not name."""
    named = {limit.name for limit in own}
    return [*own, *(limit for limit in defaults if limit.name not in named)]


def check_ulimits(limits: Sequence[Ulimit]) -> None:
    """Raise InvalidParameter for an unknown name, or a soft limit above the hard one."""
    for limit in limits:
        if limit.name.lower() not in RLIMIT_NAMES:
            raise InvalidParameter(f"invalid ulimit type: {limit.name}")
        if limit.hard != -1 and (limit.soft > limit.hard or limit.soft == -1):
            raise InvalidParameter(
                f"ulimit soft limit must be less than or equal to hard limit: "
                f"{limit.soft} > {limit.hard}"
            )


def process_rlimits(limits: Sequence[Ulimit], facts: HostFacts) -> tuple[list[Json], list[str]]:
    """OCI `rlimits`, and a warning for each one that had to be lowered.

    Without CAP_SYS_RESOURCE the kernel refuses a hard limit above our own, and the container
    would not start; it gets the most that there is instead.
    """
    entries: list[Json] = []
    warnings = []
    for limit in limits:
        name = limit.name.upper()
        soft, hard = _unsigned(limit.soft), _unsigned(limit.hard)
        own = facts.rlimits.get(name)
        if own is not None and hard > own.hard and not facts.has_sys_resource:
            warnings.append(
                f"Ulimit {limit.name} is above the engine's own hard limit and the engine lacks "
                f"CAP_SYS_RESOURCE to raise it. Limited to {own.hard}."
            )
            hard, soft = own.hard, min(soft, own.hard)
        entries.append({"type": f"RLIMIT_{name}", "soft": soft, "hard": hard})
    return entries, warnings


def oom_score_adj(wanted: int, facts: HostFacts) -> tuple[int, list[str]]:
    """The score to set and what to warn of: lowering it below our own needs CAP_SYS_RESOURCE."""
    if wanted >= facts.oom_score_adj or facts.has_sys_resource:
        return wanted, []
    if wanted == 0:
        return facts.oom_score_adj, []  # nobody asked for it
    return facts.oom_score_adj, [
        "The engine lacks CAP_SYS_RESOURCE to lower the OOM score. "
        f"OomScoreAdj {facts.oom_score_adj} is used."
    ]


def _unsigned(value: int) -> int:
    return UNLIMITED if value < 0 else value
