"""What stands between a listener and the API: the policy of a scoped socket, the audit log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from services.api.asgi import ASGIApp
from services.api.identity import Identity
from services.api.listeners import Listener
from services.containers import Container
from services.containers.containers import Containers

from .settings import AccessSettings


class AccessGates:
    """Says what is to answer on each listener. What is not configured is not imported."""

    def __init__(
        self,
        access: AccessSettings,
        app: ASGIApp,
        scoped: Sequence[Listener],
        containers: Containers,
        identity: Identity,
    ) -> None:
        """`app` is what answers on listeners without a policy; `scoped` are those with one."""
        self._app = app
        self._scoped: dict[Listener, ASGIApp] = {}
        self._audit = None
        if access.scoped_sockets:
            from services.api.scope_gate import ScopeGate

            found = _Found(containers)
            self._scoped = {
                listener: ScopeGate(app, one.policy, found, identity)
                for listener, one in zip(scoped, access.scoped_sockets, strict=True)
            }
        if access.audit_log is not None:
            from services.api.audit import AuditLog

            self._audit = AuditLog(access.audit_log)

    def app_for(self, listener: Listener) -> ASGIApp:
        """What is to answer there."""
        app = self._scoped.get(listener, self._app)
        if self._audit is None:
            return app
        from services.api.audit_gate import AuditGate

        return AuditGate(app, self._audit, lambda: listener.address)


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
