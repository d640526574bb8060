"""The simulation of a cluster, on a small one."""

from __future__ import annotations

from pathlib import Path

from clusterlib.measuring import measure
from clusterlib.plotting import RULES, plot


def test_a_small_cluster_is_measured_and_drawn(tmp_path: Path) -> None:
    """It is filled, added to, hurt and taken over; each is checked on the way."""
    results = [measure(nodes, 20, many=50) for nodes in (2, 4)]
    for one in results:
        assert one["placing"]["tasks"] == 50
        assert one["node_failure"]["tasks"] >= 20
        assert {*RULES, "all"} == one["fill_us_per_task"].keys()
        assert one["resident_mb"] > 0
    picture = tmp_path / "picture.png"
    plot(results, picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
