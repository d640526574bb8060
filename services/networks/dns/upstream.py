"""Asks other resolvers: those of the host, or those that a container was given.

They are asked in their order. One that does not answer in a while is not waited for alone: the next
is asked besides, and who was silent is asked last for some time. So a resolver that is away costs a
name that needs it a moment, and other names nothing.

Source: moby, daemon/libnetwork/resolver.go: three resolvers at most; one that refuses or fails is
passed over; a container in internal networks only is not led out through the host's namespace, but
may ask resolvers that it reaches by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from services.networks.dns import wire
from services.networks.dns.cache import Cache
from services.networks.dns.flows import Flows, NoAnswer, Opener, ask_by_tcp

MOST_RESOLVERS: Final = 3
PATIENCE_S: Final = 1.5
LIMIT_S: Final = 8.0
ROUNDS: Final = 2
SILENT_S: Final = 30.0

_PORT: Final = 53
_LONGEST_KEY: Final = 320
"""A name with its type, and some options. Longer queries are asked anew each time."""


@dataclass(frozen=True, slots=True)
class Resolver:
    """Another resolver. `from_host`: it is reached from the host's namespace, not the container's.

    The port is another one in tests only.
    """

    address: str
    from_host: bool
    port: int = _PORT


class Scope:
    """Asks out of one namespace, in which `open_socket` makes sockets. Tasks are in `nursery`."""

    def __init__(self, open_socket: Opener, nursery: trio.Nursery) -> None:
        self._open = open_socket
        self.nursery = nursery
        self._flows: dict[tuple[str, int], Flows] = {}
        self._silent_until: dict[tuple[str, int], float] = {}

    def is_silent(self, address: tuple[str, int]) -> bool:
        """Whether it did not answer lately."""
        return trio.current_time() < self._silent_until.get(address, 0.0)

    def note_silence(self, address: tuple[str, int]) -> None:
        """It did not answer in time."""
        self._silent_until[address] = trio.current_time() + SILENT_S

    async def ask(self, address: tuple[str, int], data: bytes, *, is_tcp: bool) -> bytes:
        """Its answer. Raises NoAnswer."""
        if is_tcp:
            answer = await ask_by_tcp(address, data, self._open)
        else:
            flows = self._flows.get(address)
            if flows is None:
                flows = Flows(address, open_socket=self._open, nursery=self.nursery)
                self._flows[address] = flows
            answer = await flows.ask(data)
        self._silent_until.pop(address, None)
        return answer


class Upstream:
    """The resolvers of one container."""

    def __init__(
        self, resolvers: Sequence[Resolver], *, host: Scope, own: Scope, cache: Cache, owner: str
    ) -> None:
        self._resolvers = tuple(resolvers[:MOST_RESOLVERS])
        self._host = host
        self._own = own
        self._cache = cache
        # What is reached from within a namespace may be another one at the same address.
        self._places = (
            tuple((one.address, one.port) for one in self._resolvers),
            ("" if all(one.from_host for one in self._resolvers) else owner),
        )

    def cached(self, data: bytes, *, is_tcp: bool) -> bytes | None:
        """The answer, if it is known already."""
        key = self._key(data, is_tcp=is_tcp)
        found = self._cache.get(key, trio.current_time()) if key is not None else None
        return wire.with_id(found, wire.id_of(data)) if found is not None else None

    async def ask(self, data: bytes, *, is_tcp: bool, leads_out: bool) -> bytes:
        """The first good answer, else one that says that there is none. In LIMIT_S at most."""
        resolvers = [one for one in self._resolvers if leads_out or not one.from_host]
        answers = _Race()
        with trio.move_on_after(LIMIT_S):
            async with trio.open_nursery() as nursery:
                for resolver in self._in_order(resolvers):
                    nursery.start_soon(self._try, resolver, data, is_tcp, answers)
                    await self._wait(answers, resolver)
                    if answers.best is not None:
                        break
                while answers.best is None and nursery.child_tasks:
                    await answers.wait_news()
                nursery.cancel_scope.cancel()
        if answers.best is None:
            return wire.refusal(data, wire.SERVFAIL)
        key = self._key(data, is_tcp=is_tcp)
        if key is not None:
            self._cache.put(key, answers.best, trio.current_time())
        return answers.best

    def _in_order(self, resolvers: Sequence[Resolver]) -> Iterator[Resolver]:
        once = sorted(resolvers, key=lambda one: self._scope(one).is_silent(_place(one)))
        for _ in range(ROUNDS):
            yield from once

    async def _wait(self, answers: _Race, resolver: Resolver) -> None:
        with trio.move_on_after(PATIENCE_S) as patience:
            await answers.wait_news()
        if patience.cancelled_caught:
            self._scope(resolver).note_silence(_place(resolver))

    async def _try(self, resolver: Resolver, data: bytes, is_tcp: bool, answers: _Race) -> None:
        try:
            answer = await self._scope(resolver).ask(_place(resolver), data, is_tcp=is_tcp)
        except NoAnswer:
            answers.lose()
            return
        if wire.rcode_of(answer) in (wire.SERVFAIL, wire.REFUSED):
            answers.lose()
        else:
            answers.win(answer)

    def _scope(self, resolver: Resolver) -> Scope:
        return self._host if resolver.from_host else self._own

    def _key(self, data: bytes, *, is_tcp: bool) -> object | None:
        """What an answer depends on: all that a query says but its number. None if it is too long.

        An answer by TCP may be larger than a client can take by UDP.
        """
        return (self._places, is_tcp, data[2:]) if len(data) <= _LONGEST_KEY else None


class _Race:
    """Attempts at one question."""

    def __init__(self) -> None:
        self.best: bytes | None = None
        self._news = trio.Event()

    def win(self, answer: bytes) -> None:
        if self.best is None:
            self.best = answer
        self.lose()

    def lose(self) -> None:
        """One attempt is over."""
        self._news.set()
        self._news = trio.Event()

    async def wait_news(self) -> None:
        await self._news.wait()


def _place(resolver: Resolver) -> tuple[str, int]:
    return resolver.address, resolver.port
