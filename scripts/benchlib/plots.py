"""Pictures of a run, for people who look rather than read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt

from .history import Course

COLOURS: Final = {"dockerd": "#2496ed", "ctr": "#7f8c9b"}
OTHER: Final = "#b07aa1"
COLUMNS: Final = 4


def plot_ratios(lines: Sequence[Mapping[str, Any]], path: Path) -> None:
    """A bar for each ratio, on a scale where half and twice are as far from one; aims as marks."""
    bars = [
        (line["title"], contender, ratio, line["aims"].get(contender))
        for line in lines
        for contender, ratio in sorted(line["ratios"].items())
    ]
    if not bars:
        return
    figure, axes = plt.subplots(figsize=(9, 0.8 + 0.3 * len(bars)), layout="constrained")
    for place, (_, contender, ratio, aim) in enumerate(reversed(bars)):
        axes.barh(place, ratio - 1, left=1, color=COLOURS.get(contender, OTHER), height=0.7)
        axes.text(ratio, place, f" {ratio:.2f} ", va="center", ha="left" if ratio > 1 else "right")
        if aim is not None:
            axes.plot([aim, aim], [place - 0.4, place + 0.4], color="#d1495b", linewidth=2)
    axes.set_yticks(range(len(bars)), [f"{title}  / {who}" for title, who, *_ in reversed(bars)])
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.margins(x=0.15)
    axes.set_xlabel("ours to theirs: left of 1 is better; red: the aim")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def plot_history(courses: Sequence[Course], path: Path) -> None:
    """A small plot for each line: its ratios over the runs, the newest at the right."""
    by_line: dict[str, list[Course]] = {}
    for course in courses:
        by_line.setdefault(course.title, []).append(course)
    if not by_line:
        return
    rows = -(-len(by_line) // COLUMNS)
    figure, grid = plt.subplots(
        rows, COLUMNS, figsize=(3 * COLUMNS, 2 * rows), squeeze=False, layout="constrained"
    )
    for axes in grid.flat[len(by_line) :]:
        axes.set_visible(False)
    for axes, (title, several) in zip(grid.flat, by_line.items(), strict=False):
        for course in several:
            colour = "#d1495b" if course.is_slower else COLOURS.get(course.contender, OTHER)
            axes.plot(course.ratios, marker="o", markersize=3, color=colour, label=course.contender)
        axes.axhline(1, color="black", linewidth=0.5)
        axes.set_title(title, fontsize=8)
        axes.set_ylim(bottom=0)
        axes.set_xticks([])
        axes.tick_params(labelsize=7)
        axes.legend(fontsize=6, frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)
