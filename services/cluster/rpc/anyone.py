"""One thing that is wanted of any manager: each is tried once, the best first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from ssl import SSLContext
from typing import TypeVar

from services.cluster.rpc.client import ManagerCalls, manager_address, open_manager
from services.cluster.rpc.remotes import Remotes
from services.errors import DeadlineExceeded, Unavailable

T = TypeVar("T")


async def ask_any(
    remotes: Remotes, context: SSLContext, ask: Callable[[ManagerCalls], Awaitable[T]]
) -> T:
    """What the first manager that is there answers.

    Raises Unavailable if none is, and whatever one of them has answered with.
    """
    error = Unavailable("no manager of the swarm is known")
    for address in remotes.candidates():
        try:
            async with open_manager(manager_address(address), context) as manager:
                answer = await ask(manager)
        except (Unavailable, DeadlineExceeded) as failure:
            remotes.failed(address)
            error = Unavailable(str(failure))
            continue
        remotes.answered(address)
        return answer
    raise error
