"""The operations of swarm mode: tags Swarm, Node, Service, Task, Secret and Config.

Only their rules stand here. What carries them out is imported with the first that is asked of a
node in a swarm; a node in none answers with dockerd's sentence.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, cast

from quart import Blueprint

from services.api.cluster_face import NO_MANAGER, NOT_IN_A_SWARM
from services.api.routes.cluster_modules import ClusterModules
from services.api.wire.request import outlives_client
from services.api.wire.responses import EngineResponse
from services.errors import NotFound, Unavailable

View = Callable[..., Awaitable[EngineResponse]]


@dataclass(frozen=True, slots=True)
class _Operation:
    """`outside` is what a node in no swarm answers; "": it does as it is asked."""

    rule: str
    module: str
    view: str
    outside: str = NO_MANAGER


OPERATIONS: Final = (
    _Operation("GET /swarm", "swarm", "inspect"),
    _Operation("POST /swarm/init", "swarm", "init", ""),
    _Operation("POST /swarm/join", "swarm", "join", ""),
    _Operation("POST /swarm/leave", "swarm", "leave", NOT_IN_A_SWARM),
    _Operation("POST /swarm/update", "swarm", "update"),
    _Operation("GET /swarm/unlockkey", "swarm", "unlock_key"),
    _Operation("POST /swarm/unlock", "swarm", "unlock"),
    _Operation("GET /nodes", "nodes", "list"),
    _Operation("GET /nodes/<ref>", "nodes", "inspect"),
    _Operation("DELETE /nodes/<ref>", "nodes", "remove"),
    _Operation("POST /nodes/<ref>/update", "nodes", "update"),
    _Operation("GET /services", "services", "list"),
    _Operation("POST /services/create", "services", "create"),
    _Operation("GET /services/<ref>", "services", "inspect"),
    _Operation("DELETE /services/<ref>", "services", "remove"),
    _Operation("POST /services/<ref>/update", "services", "update"),
    _Operation("GET /services/<ref>/logs", "services", "logs"),
    _Operation("GET /tasks", "tasks", "list"),
    _Operation("GET /tasks/<ref>", "tasks", "inspect"),
    _Operation("GET /tasks/<ref>/logs", "tasks", "logs"),
    _Operation("GET /secrets", "secrets", "list"),
    _Operation("POST /secrets/create", "secrets", "create"),
    _Operation("GET /secrets/<ref>", "secrets", "inspect"),
    _Operation("DELETE /secrets/<ref>", "secrets", "remove"),
    _Operation("POST /secrets/<ref>/update", "secrets", "update"),
    _Operation("GET /configs", "configs", "list"),
    _Operation("POST /configs/create", "configs", "create"),
    _Operation("GET /configs/<ref>", "configs", "inspect"),
    _Operation("DELETE /configs/<ref>", "configs", "remove"),
    _Operation("POST /configs/<ref>/update", "configs", "update"),
)


class SwarmModeRoutes:
    """The rules of all these operations."""

    def __init__(self, modules: ClusterModules) -> None:
        self._modules = modules

    def blueprint(self) -> Blueprint:
        """The routes, without version prefix."""
        blueprint = Blueprint("swarm_mode", __name__)
        for operation in OPERATIONS:
            method, _, rule = operation.rule.partition(" ")
            view = self._view(operation)
            blueprint.add_url_rule(
                rule,
                f"{operation.module}_{operation.view}",
                view if method == "GET" else outlives_client(view),
                methods=[method],
            )
        return blueprint

    def _view(self, operation: _Operation) -> View:
        async def view(**arguments: str) -> EngineResponse:
            if operation.outside and not self._modules.face.is_active:
                raise Unavailable(operation.outside)
            routes = await self._modules.get(operation.module)
            asked = cast(View, getattr(routes, operation.view))
            if not operation.rule.startswith("GET"):
                return await asked(**arguments)
            try:
                answer = await asked(**arguments)
            except NotFound:
                # Its client may have been told of it by another manager, which is ahead of us.
                await self._modules.face.control().catch_up()
                answer = await asked(**arguments)
            self._say_age(answer)
            return answer

        return view

    def _say_age(self, answer: EngineResponse) -> None:
        """Without a quorum what was known is answered, and said to be that old (RFC 9111)."""
        with suppress(Unavailable):  # what has been answered stays true, whatever the node is now
            age_s = int(self._modules.face.control().age_s)
            if age_s > 0:
                answer.headers["Age"] = str(age_s)
