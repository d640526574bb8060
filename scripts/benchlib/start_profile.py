"""Where the time of a start goes: processor time from exec to the first answered ping, by part.

Python itself times the imports (`-X importtime`); what remains of the time that the kernel counts
for the daemon is its own work. Of each figure the least of all rounds counts: whatever is more is
what the machine did beside it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from .bench import Scale, running_bench
from .engines import Engine, wharfinger
from .results import OURS

PARTS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "trio, and what it needs": frozenset(
            {"trio", "attr", "attrs", "outcome", "sortedcontainers", "sniffio", "idna"}
        ),
        "gRPC: grpclib, h2, trio-asyncio, asyncio, betterproto2": frozenset(
            {"grpclib", "h2", "hpack", "hyperframe", "multidict", "trio_asyncio", "asyncio"}
            | {"greenlet", "betterproto2", "typing_extensions"}
        ),
        "containerd's messages": frozenset({"protos"}),
        "loguru": frozenset({"loguru"}),
        "msgspec": frozenset({"msgspec"}),
        "the engine's own: services": frozenset({"services"}),
        "the engine's own: supervisor": frozenset({"supervisor"}),
    }
)
STANDARD: Final = "the standard library"
LIBRARIES: Final = "other libraries"

ROUTES: Final = frozenset({"quart", "werkzeug", "jinja2", "flask", "hypercorn", "click", "blinker"})
"""Imported in a thread once servers accept. Left out: none of it is waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Milliseconds of processor time; `modules` None where no imports are counted."""

    part: str
    took_ms: float
    modules: int | None = None


def profile_start(scale: Scale) -> list[Cost]:
    """Start the engine again and again, with and without Python's watch; in the order of a start.

    The last one is the whole. Imports under the watch take a little longer than without.
    """
    wholes_ms: list[float] = []
    imports: dict[str, float] = {}
    with running_bench(scale, {OURS: wharfinger}) as bench:
        engine = bench.engines[OURS]
        for _ in range(scale.rounds):
            engine.stop()
            engine.start_timed()
            wholes_ms.append(engine.processor_s() * 1e3)
            for module, took_ms in _watched(engine):
                imports[module] = min(took_ms, imports.get(module, took_ms))
    interpreter_ms = min(_interpreter_ms() for _ in range(scale.rounds))
    parts = by_part(imports)
    imported_ms = sum(cost.took_ms for cost in parts)
    whole_ms = min(wholes_ms)
    return [
        Cost(part="the interpreter", took_ms=interpreter_ms),
        *parts,
        Cost(part="the engine's own start", took_ms=whole_ms - interpreter_ms - imported_ms),
        Cost(part="in all", took_ms=whole_ms, modules=len(imports)),
    ]


def by_part(imports: Mapping[str, float]) -> list[Cost]:
    """What modules took, each without those that it imports, by the part that they belong to."""
    found: dict[str, list[float]] = {}
    for module, took_ms in imports.items():
        found.setdefault(_part_of(module), []).append(took_ms)
    return [
        Cost(part=part, took_ms=sum(found[part]), modules=len(found[part]))
        for part in (STANDARD, *PARTS, LIBRARIES)
        if part in found
    ]


def read_watch(lines: Iterable[str]) -> list[tuple[str, float]]:
    """Modules, and the milliseconds of each without those that it imports.

    Source: CPython, Python/import.c: `import time: self [us] | cumulative | imported package`.
    """
    found = []
    for line in lines:
        head, _, rest = line.partition("import time:")
        took_us, _, after = rest.partition("|")
        if not head and took_us.strip().isdigit():
            module = after.rpartition("|")[2].strip()
            if module.partition(".")[0] not in ROUTES:
                found.append((module, int(took_us) / 1e3))
    return found


def table(costs: Sequence[Cost]) -> str:
    """For the terminal, and for the page on the design: Markdown."""
    rows = ["| Part | ms | modules |", "| --- | ---: | ---: |"]
    rows += [
        f"| {cost.part} | {cost.took_ms:.0f} | {'' if cost.modules is None else cost.modules} |"
        for cost in costs
    ]
    return "\n".join(rows)


def _part_of(module: str) -> str:
    top = module.partition(".")[0]
    rest = STANDARD if top in sys.stdlib_module_names else LIBRARIES
    return next((part for part, tops in PARTS.items() if top in tops), rest)


def _watched(engine: Engine) -> list[tuple[str, float]]:
    engine.stop()
    before = engine.log_text()
    engine.start_timed({"PYTHONPROFILEIMPORTTIME": "1"})
    return read_watch(engine.log_text()[len(before) :].splitlines())


def _interpreter_ms() -> float:
    """A Python that does nothing but tell what it has used."""
    program = "import time; print(time.process_time())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    return float(done.stdout) * 1e3
