"""What stands between a listener and the API: the policy of a scoped socket, the audit log."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from services.api.http.asgi import ASGIApp, Receive, Scope, Send
from services.api.listening.listener import Listener
from services.api.wire.identity import Identity
from services.containers import Container
from services.containers.containers import Containers
from supervisor.configuration.settings import AccessSettings

if TYPE_CHECKING:
    from services.api.access.audit import AuditLog
    from services.api.access.scopes import Policy


class AccessGates:
    """Says what is to answer on each listener. What is not configured is not imported.

    A policy is a server's for its whole life: one that changes takes a new server. The audit log is
    asked for at each request; one that is under way is written where it began.
    """

    def __init__(
        self, access: AccessSettings, app: ASGIApp, containers: Containers, identity: Identity
    ) -> None:
        """`app` is what answers on listeners without a policy."""
        self._app = app
        self._containers, self._identity = _Found(containers), identity
        self._policies: dict[Listener, Policy] = {}
        self._audit: AuditLog | None = None
        self.set_audit_log(access.audit_log)

    def set_policy(self, listener: Listener, policy: Policy) -> None:
        """For the servers that are made for the listener from now on."""
        self._policies[listener] = policy

    def drop_policy(self, listener: Listener) -> None:
        """The listener is closed. Unknown is fine."""
        self._policies.pop(listener, None)

    def set_audit_log(self, path: Path | None) -> None:
        """Where requests are written down that come from now on; None: nowhere."""
        self._audit = None
        if path is not None:
            from services.api.access.audit import AuditLog

            self._audit = AuditLog(path)

    def app_for(self, listener: Listener) -> ASGIApp:
        """What is to answer there."""
        app = self._app
        policy = self._policies.get(listener)
        if policy is not None:
            from services.api.access.scope_gate import ScopeGate

            app = ScopeGate(app, policy, self._containers, self._identity)

        def answer(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
            log = self._audit
            if log is None:
                return app(scope, receive, send)
            from services.api.access.audit_gate import AuditGate

            return AuditGate(app, log, lambda: listener.address)(scope, receive, send)

        return answer


class _Labelled:
    """One container, as policies see it."""

    def __init__(self, container: Container) -> None:
        self.id = container.id
        self.labels: Mapping[str, str] = container.definition.config.labels or {}


class _Found:
    """Finds containers for policies."""

    def __init__(self, containers: Containers) -> None:
        self._containers = containers

    def container(self, ref: str) -> _Labelled:
        return _Labelled(self._containers.find(ref))

    def of_exec(self, exec_id: str) -> _Labelled:
        return _Labelled(self._containers.execs.find(exec_id).container)
