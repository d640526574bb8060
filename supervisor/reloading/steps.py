"""What each change of a plan takes in this process, as steps of one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from services.api.access.audit_file import require_writable
from services.api.listening.hosts import Host, TcpHost, UnixHost
from services.api.listening.listener import Listener
from services.api.listening.listeners import Listeners
from services.api.wire.identity import Identity
from supervisor.configuration.features import has_buildkit
from supervisor.configuration.in_force import Current, InForce
from supervisor.faces.api_servers import ApiServers
from supervisor.faces.gates import AccessGates
from supervisor.faces.metrics import MetricsFace
from supervisor.faces.observer import ObserverFace
from supervisor.process.logs import LogSink

from .plan import host_changes, scope_changes
from .restarts import PartRestarts
from .table import METRICS, OBSERVER
from .transaction import Step

if TYPE_CHECKING:
    from services.api.access.scopes import ScopedSocket


@dataclass(frozen=True, slots=True, kw_only=True)
class Changer:
    """Knows the parts that are told of changes; everything else asks `current` by itself."""

    current: Current
    listeners: Listeners
    api: ApiServers
    gates: AccessGates
    metrics: MetricsFace
    observer: ObserverFace
    restarts: PartRestarts
    identity: Identity
    sink: LogSink

    def steps(self, new: InForce) -> list[Step]:
        """From what is in force to `new`, without taking anything away that is not in the way."""
        old = self.current.in_force
        hosts = host_changes(old.settings.api.hosts, new.settings.api.hosts)
        steps = [self._close(host, old) for host in hosts.yielding]
        steps += [self._listen(host, new) for host in hosts.added]
        steps += self._scope_steps(old, new)
        if old.settings.access.audit_log != new.settings.access.audit_log:
            steps.append(
                self._move_audit_log(old.settings.access.audit_log, new.settings.access.audit_log)
            )
        if old.settings.api.group != new.settings.api.group:
            steps.append(self._hand_over(old.settings.api.group, new.settings.api.group))
        if old.settings.metrics_address != new.settings.metrics_address:
            steps.append(
                self._move_metrics(old.settings.metrics_address, new.settings.metrics_address)
            )
        if old.settings.observer != new.settings.observer:
            steps.append(self._move_observer(old.settings.observer, new.settings.observer))
        steps.append(self._switch(old, new))
        return steps

    async def finish(self, old: InForce, new: InForce) -> None:
        """Take away what `new` does not have; nothing can fail any more."""
        for host in host_changes(old.settings.api.hosts, new.settings.api.hosts).leaving:
            await self._shut(host)
        before, after = old.settings.access.scoped_sockets, new.settings.access.scoped_sockets
        for socket in scope_changes(before, after).leaving:
            await self._shut_scoped(socket)

    async def settle(self) -> None:
        """Wait for what `finish` has let go: its clients may have been waiting for our answer."""
        await self.api.settle()

    # ── the API's addresses

    def _listen(self, host: Host, new: InForce) -> Step:
        return Step(
            name=f"listen on {host}",
            apply=partial(self._open, host, new),
            revert=partial(self._shut, host),
        )

    def _close(self, host: Host, old: InForce) -> Step:
        return Step(
            name=f"close {host}",
            apply=partial(self._shut, host),
            revert=partial(self._open, host, old),
        )

    async def _open(self, host: Host, having: InForce) -> None:
        listeners = self._listeners_of(host) or await self.listeners.add(host, tls=having.tls)
        for listener in listeners:
            if listener not in self.api:
                await self.api.add(listener)

    async def _shut(self, host: Host) -> None:
        for listener in self._listeners_of(host):
            if listener in self.api:
                await self.api.retire(listener)
            self.listeners.remove(listener)

    def _listeners_of(self, host: Host) -> Sequence[Listener]:
        return [listener for listener in self.listeners.listeners if listener.host == host]

    # ── scoped sockets, and where requests are written down

    def _scope_steps(self, old: InForce, new: InForce) -> list[Step]:
        before, after = old.settings.access.scoped_sockets, new.settings.access.scoped_sockets
        changes = scope_changes(before, after)
        steps = [
            Step(
                name=f"listen on {socket.path}",
                apply=partial(self._open_scoped, socket),
                revert=partial(self._shut_scoped, socket),
            )
            for socket in changes.added
        ]
        steps += [
            Step(
                name=f"change {ours.path}",
                apply=partial(self._change_scoped, ours, theirs),
                revert=partial(self._change_scoped, theirs, ours),
            )
            for ours, theirs in changes.changed
        ]
        return steps

    async def _open_scoped(self, socket: ScopedSocket) -> None:
        found = self._scoped_listener(socket)
        listener = found or await self.listeners.add_scoped(
            UnixHost(path=socket.path), socket.group
        )
        self.gates.set_policy(listener, socket.policy)
        if listener not in self.api:
            await self.api.add(listener)

    async def _shut_scoped(self, socket: ScopedSocket) -> None:
        listener = self._scoped_listener(socket)
        if listener is not None:
            if listener in self.api:
                await self.api.retire(listener)
            self.listeners.remove(listener)
            self.gates.drop_policy(listener)

    async def _change_scoped(self, old: ScopedSocket, new: ScopedSocket) -> None:
        """Another server on the same socket: nobody is refused meanwhile.

        What the old one has open drains, and ends in seconds: nobody keeps rights that are gone.
        """
        listener = self._scoped_listener(new)
        assert listener is not None
        if old.group != new.group:
            self.listeners.set_group_of(listener, new.group)
        if old.policy != new.policy:
            if listener in self.api:
                await self.api.retire(listener)
            self.gates.set_policy(listener, new.policy)
            await self.api.add(listener)

    def _scoped_listener(self, socket: ScopedSocket) -> Listener | None:
        host = UnixHost(path=socket.path)
        return next((one for one in self.listeners.scoped if one.host == host), None)

    def _move_audit_log(self, old: Path | None, new: Path | None) -> Step:
        async def move(path: Path | None) -> None:
            if path is not None:
                await trio.to_thread.run_sync(require_writable, path)
            self.gates.set_audit_log(path)

        async def move_back() -> None:
            self.gates.set_audit_log(old)

        name = f"audit log {new}" if new else "no audit log"
        return Step(name=name, apply=partial(move, new), revert=move_back)

    # ── what is told, and what is restarted

    def _hand_over(self, old: str, new: str) -> Step:
        async def give(group: str) -> None:
            self.listeners.set_group(group)

        return Step(name=f"group {new}", apply=partial(give, new), revert=partial(give, old))

    def _move_metrics(self, old: str, new: str) -> Step:
        async def move(address: str) -> None:
            self.metrics.address = address
            await self.restarts.restart(METRICS)

        name = f"metrics on {new}" if new else "no metrics"
        return Step(name=name, apply=partial(move, new), revert=partial(move, old))

    def _move_observer(self, old: TcpHost | None, new: TcpHost | None) -> Step:
        async def move(host: TcpHost | None) -> None:
            self.observer.host = host
            await self.restarts.restart(OBSERVER)

        name = f"observer on {new}" if new else "no observer's address"
        return Step(name=name, apply=partial(move, new), revert=partial(move, old))

    def _switch(self, old: InForce, new: InForce) -> Step:
        async def switch(to: InForce) -> None:
            settings = to.settings
            self.current.in_force = to
            tls = settings.api.tls
            self.listeners.set_tls(to.tls, verify=tls is not None and tls.verify)
            config = self.identity.config
            said = replace(
                config,
                experimental=settings.experimental,
                has_buildkit=has_buildkit(settings.features),
            )
            if config != said:
                self.identity.change(said)
            self.sink.change(
                level=settings.log.effective_level,
                format=settings.log.format,
                raw=settings.log.raw,
            )

        return Step(name="switch", apply=partial(switch, new), revert=partial(switch, old))
