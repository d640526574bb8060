"""Makes the reloader of the parts that a reload speaks to."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from supervisor.configuration.in_force import prepare
from supervisor.configuration.settings import Settings
from supervisor.engine.ground import GroundParts
from supervisor.faces.api import ApiParts
from supervisor.faces.metrics import MetricsFace
from supervisor.faces.observer import ObserverFace
from supervisor.process.logs import LogSink
from supervisor.process.notify import Notifier

from .reloader import Reloader
from .restarts import PartRestarts

if TYPE_CHECKING:
    from .steps import Changer


def build_reloader(
    ground: GroundParts,
    api: ApiParts,
    *,
    metrics: MetricsFace,
    observer: ObserverFace,
    restarts: PartRestarts,
    sink: LogSink,
    notifier: Notifier,
    read: Callable[[], Settings],
) -> Reloader:
    """Make it. `read` blocks: flags and file, merged and checked."""
    current = ground.current

    def make_changer() -> Changer:
        from .steps import Changer  # as all that follows, by the first reload

        return Changer(
            current=current,
            listeners=api.listeners,
            api=api.servers,
            gates=api.gates,
            metrics=metrics,
            observer=observer,
            restarts=restarts,
            identity=api.identity,
            sink=sink,
        )

    async def announce(error: str) -> None:
        from .event import reload_event

        event = reload_event(current.settings(), engine_id=ground.engine_id, error=error)
        await ground.bus.commit(event)

    return Reloader(
        current=current,
        read=read,
        prepare=partial(prepare, facts=ground.facts),
        make_changer=make_changer,
        notifier=notifier,
        announce=announce,
    )
