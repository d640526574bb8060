"""One thing that is wanted of any manager, the best first."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from ssl import SSLContext
from typing import TypeVar

from services.cluster.rpc.client import ManagerCalls, NoAnswer, manager_address, open_manager
from services.cluster.rpc.remotes import Remotes
from services.errors import DeadlineExceeded, Unavailable

T = TypeVar("T")


async def ask_any(
    remotes: Remotes, context: SSLContext, ask: Callable[[ManagerCalls], Awaitable[T]]
) -> T:
    """What the first manager that is there answers. One that has not answered in time is tried once
    more, after the others: a machine may be busy.

    Raises Unavailable if none is, and whatever one of them has answered with.
    """
    error = Unavailable("no manager of the swarm is known")
    waiting, late = deque(remotes.candidates()), set()
    while waiting:
        address = waiting.popleft()
        try:
            async with open_manager(manager_address(address), context) as manager:
                answer = await ask(manager)
        except (Unavailable, DeadlineExceeded) as failure:
            remotes.failed(address)
            error = Unavailable(str(failure))
            if isinstance(failure, NoAnswer) and address not in late:
                late.add(address)
                waiting.append(address)
            continue
        remotes.answered(address)
        return answer
    raise error
