"""A table for people, JSON for programs."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from .results import OURS, Result


def table(results: Sequence[Result]) -> str:
    """One line a comparison: each contender's median, then our ratio to each and the aims."""
    others = sorted({who for result in results for who in result.figures} - {OURS})
    header = ["", "unit", OURS, *others, *(f"/ {who}" for who in others), "aims"]
    rows = [header, *(_row(result, others) for result in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in (0, 1, len(header) - 1) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _row(result: Result, others: Iterable[str]) -> list[str]:
    medians, ratios = result.medians, result.ratios
    figures = [_number(medians.get(who)) for who in (OURS, *others)]
    return [
        result.title,
        result.unit,
        *figures,
        *(_number(ratios.get(who)) for who in others),
        ", ".join(_aim(result, who, aim) for who, aim in sorted(result.aims.items())),
    ]


def _aim(result: Result, who: str, aim: float) -> str:
    wanted = f"<= {aim:g} {result.unit}" if who == OURS else f"<= {aim:g} x {who}"
    return f"{wanted} MISSED" if who in result.missed else wanted


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:.{digits}f}"


def document(
    results: Sequence[Result], *, otp: object, skipped: dict[str, str], is_quick: bool
) -> dict[str, object]:
    """Everything that was measured. `otp` is what scripts/bench_otp.py printed, or None."""
    return {
        "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {
            "cpus": os.cpu_count(),
            "kernel": platform.release(),
            "python": platform.python_version(),
        },
        "quick": is_quick,
        "lines": [result.to_json() for result in results],
        "otp": otp,
        "skipped": skipped,
    }


def save(found: dict[str, object], path: Path) -> None:
    """Write `found` as JSON; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=2) + "\n")
