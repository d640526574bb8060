"""The API's servers: sockets, what judges requests, and the routes behind it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from services.api.access.authorization import AuthorizationGate
from services.api.front.deferred import DeferredApp
from services.api.front.fast import FastRoutes
from services.api.front.front import Front
from services.api.front.measures import ApiMeasures
from services.api.http.asgi import ASGIApp
from services.api.http.server import ApiServer, ServerConfig
from services.api.listening.hosts import UnixHost
from services.api.listening.listeners import Listeners
from services.api.listening.systemd import ActivatedSockets
from services.api.wire.identity import AppConfig, Identity
from services.containers.containers import Containers
from services.plugins import Authorizer
from supervisor.configuration.features import has_buildkit
from supervisor.configuration.in_force import Current
from supervisor.otp import stop_request
from supervisor.version import VERSION

from .api_servers import ApiServers
from .gates import AccessGates
from .route_sources import RouteSources

if TYPE_CHECKING:
    from .quick_routes import QuickRoutes

API_DRAIN_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiParts:
    """What of the API is somebody's child, or spoken to by others."""

    listeners: Listeners
    identity: Identity
    routes: DeferredApp
    gates: AccessGates
    servers: ApiServers
    measures: ApiMeasures


def build_api(
    current: Current,
    *,
    environment: Mapping[str, str],
    containers: Containers,
    swarm_role: Callable[[], str],
    route_sources: Callable[[], RouteSources],
) -> ApiParts:
    """Make them. `route_sources` is called when the tree starts.

    Raises:
        InvalidHostError: systemd passed no socket for an fd:// host.
    """
    settings = current.settings()
    listeners = _listeners(current, environment)
    identity = Identity(
        AppConfig(
            engine_version=VERSION,
            experimental=settings.experimental,
            has_buildkit=has_buildkit(settings.features),
        ),
        swarm_role=swarm_role,
    )
    fast = FastRoutes(identity)
    routes = DeferredApp(lambda: _prepare_routes(route_sources(), fast))
    measures = ApiMeasures()
    judged = AuthorizationGate(
        Front(routes, fast, measures),
        Authorizer(lambda: current.settings().access.authorization_plugins),
        identity,
    )
    gates = AccessGates(settings.access, judged, containers, identity)
    for listener, scoped in zip(listeners.scoped, settings.access.scoped_sockets, strict=True):
        gates.set_policy(listener, scoped.policy)
    servers = ApiServers(
        lambda listener: ApiServer(
            gates.app_for(listener),
            listener,
            config=ServerConfig(drain_s=API_DRAIN_S),
            stop_request=stop_request,
        ),
        (*listeners.listeners, *listeners.scoped),
    )
    return ApiParts(
        listeners=listeners,
        identity=identity,
        routes=routes,
        gates=gates,
        servers=servers,
        measures=measures,
    )


def _listeners(current: Current, environment: Mapping[str, str]) -> Listeners:
    settings = current.settings()
    api = settings.api
    return Listeners(
        api.hosts,
        group=api.group,
        tls=current.in_force.tls,
        tls_verify=api.tls.verify if api.tls else False,
        activated=ActivatedSockets.from_environ(environment, pid=os.getpid()),
        scoped=[(UnixHost(path=one.path), one.group) for one in settings.access.scoped_sockets],
    )


def _prepare_routes(sources: RouteSources, fast: FastRoutes) -> Callable[[], ASGIApp]:
    """Make the quick answers; what is returned makes all the others."""
    from .quick_routes import build_quick_routes

    return partial(_build_routes, sources, fast, build_quick_routes(sources, fast))


def _build_routes(sources: RouteSources, fast: FastRoutes, quick: QuickRoutes) -> ASGIApp:
    # Imported when the servers already accept: quart takes a fifth of a second.
    from . import first_uses
    from .routes import build_routes_app

    app = build_routes_app(sources, fast, quick)
    first_uses.load()
    return app
