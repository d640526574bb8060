"""docs/prometheus and docs/grafana: what they ask for is what the engine serves."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from services.metrics.containers import ContainerFamilies
from supervisor.otp import ChildSpec, Supervisor
from tests.services.metrics.support import Fakes
from tests.services.metrics.test_containers import row

DOCS = Path(__file__).parents[3] / "docs"
ALERTS = DOCS / "prometheus" / "alerts.yml"
DASHBOARD = DOCS / "grafana" / "wharfinger.json"
NAME = re.compile(r"\b(?:wharfinger|engine_daemon|builder|process)_\w+\b")


@pytest.fixture(scope="module")
def served() -> set[str]:
    """The names of all samples that the engine serves."""
    return trio.run(sample_names)


async def sample_names() -> set[str]:
    root = Supervisor([ChildSpec(id="a", start=trio.sleep_forever)], name="root")
    async with trio.open_nursery() as nursery:
        await nursery.start(root.run)
        fakes = Fakes(root)
        fakes.reports.reports.add("root", "stuck")
        fakes.calls.calls.observe("/x/Y", 1.0)
        fakes.calls.failures.add("/x/Y", "Unavailable")
        fakes.api.durations.observe("GET /info", 1.0)
        fakes.api.answers.add("GET /info", "200")
        text = (await fakes.exposition.render()).body.decode()
        nursery.cancel_scope.cancel()
    families = [
        *text_string_to_metric_families(text),
        *ContainerFamilies().families([row(1)]),
    ]
    names = {sample.name for family in families for sample in family.samples}
    # Those that only a container with a health check has.
    return names | {"wharfinger_container_healthy", "wharfinger_container_failing_streak"}


def test_promtool_accepts_the_alert_rules() -> None:
    """They are rules, and their expressions parse."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool")
    done = subprocess.run([promtool, "check", "rules", ALERTS], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_alert_rules_ask_for_what_is_served(served: set[str]) -> None:
    """A name that changes in the code must change in the rules."""
    expressions = re.findall(r"^ +expr: (.*)$", ALERTS.read_text(), re.MULTILINE)
    assert len(expressions) > 10
    assert {name for text in expressions for name in NAME.findall(text)} <= served


def test_the_dashboard_asks_for_what_is_served(served: set[str]) -> None:
    """In panels, annotations and variables."""
    dashboard = json.loads(DASHBOARD.read_text())
    expressions = list(strings(dashboard, {"expr", "query"}))
    assert len(expressions) > 20
    used = {name for text in expressions for name in NAME.findall(text)}
    assert used <= served


def test_the_dashboard_has_no_two_panels_in_one_place() -> None:
    """Ids and places are unique, and a panel lies within the grid."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for grid in [panel["gridPos"]]
        for x in range(grid["x"], grid["x"] + grid["w"])
        for y in range(grid["y"], grid["y"] + grid["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


def test_promtool_accepts_the_metrics() -> None:
    """Names, units, types and help as Prometheus wants them."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool")

    async def text() -> bytes:
        root = Supervisor(name="root")
        async with trio.open_nursery() as nursery:
            await nursery.start(root.run)
            body = (await Fakes(root).exposition.render()).body
            nursery.cancel_scope.cancel()
        return body

    done = subprocess.run([promtool, "check", "metrics"], input=trio.run(text), capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def strings(value: Any, keys: set[str]) -> Iterator[str]:
    """The strings under these keys, however deep."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in keys and isinstance(inner, str):
                yield inner
            else:
                yield from strings(inner, keys)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner, keys)
