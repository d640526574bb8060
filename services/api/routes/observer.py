"""The observer's own API below /wharfinger/v1, and its page. See docs/observer.md."""

from __future__ import annotations

import time
from typing import Final

from quart import Blueprint

from services.api.access.own_guard import PREFIX, guard_own
from services.api.wire.json_bodies import encode
from services.api.wire.request import current_request, outlives_client
from services.api.wire.responses import EngineResponse, StreamResponse
from services.containers import Containers
from services.errors import InvalidParameter, NotFound
from services.observer import Observer
from services.observer.census import take_census
from services.observer.container_feeds import TAIL_LIMIT, log_events, usage_events
from services.observer.page import PAGE_HEADERS, Page
from services.observer.report_stream import parse_id, report_events, report_to_wire
from services.observer.scrape import RenderMetrics
from services.observer.sse import CONTENT_TYPE
from services.observer.tree import DEPTH

MAX_DEPTH: Final = 20
TAIL: Final = 200


class ObserverRoutes:
    """What the engine shows of itself."""

    def __init__(
        self, observer: Observer, containers: Containers, *, metrics: RenderMetrics, page: Page
    ) -> None:
        self._observer = observer
        self._containers = containers
        self._metrics = metrics
        self._page = page

    def blueprint(self) -> Blueprint:
        """The routes, without version prefix."""
        blueprint = Blueprint("observer", __name__)
        blueprint.before_request(guard_own)
        for rule, view, method in (
            ("/tree", self.tree, "GET"),
            ("/parts/<path:path>", self.part, "GET"),
            ("/parts/<path:path>/restart", self.restart, "POST"),
            ("/reports", self.reports, "GET"),
            ("/crashes", self.crashes, "GET"),
            ("/tasks", self.tasks, "GET"),
            ("/lag", self.lag, "GET"),
            ("/metrics", self.metrics, "GET"),
            ("/containers/<path:ref>/logs", self.logs, "GET"),
            ("/containers/<path:ref>/usage", self.usage, "GET"),
        ):
            blueprint.add_url_rule(f"{PREFIX}{rule}", view.__name__, view, methods=[method])
        for rule, endpoint in (("/", "page"), ("/<path:name>", "file")):
            blueprint.add_url_rule(f"/wharfinger{rule}", endpoint, self.file, methods=["GET"])
        return blueprint

    async def tree(self) -> EngineResponse:
        """The whole tree, as deep as the containers unless asked for more."""
        depth = _number("depth", DEPTH, MAX_DEPTH)
        return _json(self._observer.pictures.whole(depth))

    async def part(self, path: str) -> EngineResponse:
        """One part with all that is below it, and its last crash with the traceback."""
        return _json(await self._observer.pictures.part(path))

    @outlives_client
    async def restart(self, path: str) -> EngineResponse:
        """Restart one part; the answer is its picture when it is ready again."""
        await self._observer.restarts.restart(path)
        return _json(await self._observer.pictures.part(path))

    async def reports(self) -> StreamResponse:
        """The tree's reports as server-sent events."""
        request = current_request()
        last = request.headers.get("Last-Event-ID", "") or request.query.text("after")
        place = None if not last else parse_id(last)
        events = report_events(self._observer.history, place)
        return StreamResponse(events, endless=True, content_type=CONTENT_TYPE, headers=NO_STORE)

    async def crashes(self) -> EngineResponse:
        """The newest failures, oldest first."""
        return _json([report_to_wire(report) for report in self._observer.history.crashes])

    async def tasks(self) -> EngineResponse:
        """The task census."""
        part = current_request().query.text("part")
        return _json(await take_census(self._observer.waits, taken_ns=time.time_ns(), part=part))

    async def lag(self) -> EngineResponse:
        """How late the event loop is."""
        lag = self._observer.lag
        histogram = lag.histogram
        return _json(
            {
                "latest_s": lag.latest_s,
                "longest_s": lag.longest_s(),
                "bounds_s": histogram.bounds,
                "counts": histogram.counts,
            }
        )

    async def metrics(self) -> EngineResponse:
        """What --metrics-addr serves."""
        scrape = await self._metrics(accept=current_request().headers.get("Accept", ""))
        return EngineResponse(scrape.body, content_type=scrape.content_type)

    async def logs(self, ref: str) -> StreamResponse:
        """The end of a container's log, as it grows."""
        container = self._containers.find(ref)
        tail = _number("tail", TAIL, TAIL_LIMIT)
        events = log_events(self._containers, container, tail=tail)
        return StreamResponse(events, endless=True, content_type=CONTENT_TYPE, headers=NO_STORE)

    async def usage(self, ref: str) -> StreamResponse:
        """What a container uses, once a second."""
        events = usage_events(self._containers, self._containers.find(ref))
        return StreamResponse(events, endless=True, content_type=CONTENT_TYPE, headers=NO_STORE)

    async def file(self, name: str = "") -> EngineResponse:
        """The page, and what it is made of."""
        found = await self._page.file(name)
        if found is None:
            raise NotFound("page not found")
        return EngineResponse(
            found.body, content_type=found.content_type, headers=dict(PAGE_HEADERS)
        )


NO_STORE: Final = {"Cache-Control": "no-store"}


def _json(value: object) -> EngineResponse:
    return EngineResponse(encode(value), headers=NO_STORE)


def _number(name: str, default: int, most: int) -> int:
    text = current_request().query.text(name)
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and int(text) <= most):
        raise InvalidParameter(f"{name} must be a number from 0 to {most}: {text[:100]}")
    return int(text)
