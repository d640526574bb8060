"""The tree as it lives: redrawn once a second and whenever it reports something."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from rich.console import Group
from rich.live import Live
from rich.text import Text

from .client import Client, ClientError
from .events import ServerEvent, read_events
from .picture import make_console, render

Part = dict[str, Any]

FLASH_S: Final = 3.0
REDRAW_S: Final = 1.0
RECONNECT_S: Final = 1.0
QUEUE: Final = 1000  # reports that wait to be drawn; more are not worth it
QUIET: Final = ("progress", "renewal")


class _Reports:
    """The reports of an engine, read in a thread, over its restarts too."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._queue: queue.Queue[ServerEvent] = queue.Queue(QUEUE)
        self._last = ""
        threading.Thread(target=self._read, daemon=True).start()

    def get(self, patience_s: float) -> ServerEvent | None:
        """The next one, if it comes in time."""
        try:
            return self._queue.get(timeout=max(0.0, patience_s))
        except queue.Empty:
            return None

    def _read(self) -> None:
        while True:
            try:
                query = {"after": self._last} if self._last else {}
                with self._client.stream("/reports", **query) as lines:
                    for event in read_events(lines):
                        self._last = event.id or self._last
                        if not self._queue.full():
                            self._queue.put(event)
            except ClientError:
                pass  # the picture says that the engine is away
            time.sleep(RECONNECT_S)


def watch_tree(client: Client, picture: Callable[[], Part]) -> int:
    """Draw until interrupted. An engine that goes away is waited for."""
    tree = picture()  # what is wrong from the beginning is an ordinary error
    reports = _Reports(client)
    flashing: dict[str, float] = {}
    latest = Text("")
    console = make_console()
    with Live(console=console, screen=True, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            now = time.monotonic()
            flashing = {path: until for path, until in flashing.items() if until > now}
            drawn = render(tree, now_ns=time.time_ns(), flashing=flashing)
            live.update(Group(drawn, Text(""), latest), refresh=True)
            event = reports.get(REDRAW_S)
            while event is not None:
                if event.kind == "report":
                    latest = report_line(event.data)
                    if event.data["kind"] not in QUIET:
                        flashing |= dict.fromkeys(lit_by(event.data), time.monotonic() + FLASH_S)
                event = reports.get(0.0)
            try:
                tree = picture()
            except ClientError as error:
                latest = Text(str(error), style="red")


def lit_by(report: Part) -> list[str]:
    """The paths that a failure lights up: the part's, and its container's if it is part of one."""
    path: str = report["path"]
    parts = path.split("/")
    container = "/".join(parts[:5])
    return [path, container] if path.startswith("root/engine/containers/running/") else [path]


def print_reports(client: Client) -> int:
    """Print what the tree reports, one a line, until interrupted or the engine ends the stream."""
    console = make_console()
    with client.stream("/reports") as lines:
        for event in read_events(lines):
            if event.kind == "report":
                console.print(report_line(event.data))
            elif event.kind == "missed":
                console.print(f"{event.data['count']} reports were missed")
    return 0


def report_line(report: Part) -> Text:
    """One report: when, what, who, why."""
    at = datetime.fromtimestamp(report["at_ns"] / 1e9).strftime("%H:%M:%S.%f")[:-3]
    is_failure = report["kind"] not in QUIET
    text = Text(f"{at} ", style="bright_black")
    text.append(f"{report['kind'].replace('_', ' '):16} ", style="red" if is_failure else "green")
    text.append(report["path"])
    if report.get("error"):
        text.append(f": {report['error']}", style="red")
    if report.get("overdue_s"):
        text.append(f" for {report['overdue_s']:.0f} s in {report['stack'][-1]}", style="red")
    return text
