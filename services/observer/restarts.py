"""Restarts by hand: of which parts, and what that costs. The rule is a function of a part's node.

What the tree does by itself after a crash is safe to ask for: the part restarts alone, drains
before it ends, and whoever needs it waits meanwhile. So a restart is refused only where it would
take others along, would not bring the part back, or would cut the very request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Protocol

from loguru import logger

from services.errors import Conflict, EngineError, NotFound, Unavailable
from supervisor.otp import (
    BadSpec,
    ChildType,
    Node,
    NotRunning,
    Restart,
    Restarting,
    StartFailed,
    State,
)
from supervisor.otp import NotFound as NoSuchChild

RUNNING: Final = "root/engine/containers/running"
"""The supervisor whose children are the running containers."""

CONTAINER: Final = re.compile(re.escape(RUNNING) + r"/([0-9a-f]{64})")
"""The path of a container's supervisor."""

_REFUSED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "root/listeners": "clients would be refused while its sockets are opened anew",
        "root/faces/api": "it answers this very request",
        "root/faces/observer": "it may be what carries this very request",
    }
)
"""By path, for what is below as well."""

_COSTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "root/containerd/process": "Calls to containerd that are under way fail; pulls and builds "
        "with them. Containers run on.",
        "root/containerd/connection": "Calls to containerd that are under way fail; pulls and "
        "builds with them. Containers run on.",
        "root/store/database": "Changes wait while it is opened again.",
        "root/engine/firewall": "Containers that start meanwhile wait for it.",
    }
)


def refusal(node: Node) -> str:
    """Why the part is not restarted by hand; empty: it may be."""
    if node.restart is None:
        return "it is the whole engine: restart its service"
    for path, why in _REFUSED.items():
        if node.path == path or node.path.startswith(f"{path}/"):
            return why
    if node.restart is Restart.TEMPORARY:
        return "it would not come back"
    if node.type is ChildType.SUPERVISOR and not CONTAINER.fullmatch(node.path):
        return "other parts are below it: restart one of those"
    if node.state is not State.RUNNING:
        return f"it is {node.state.value}"
    return ""


def costs(node: Node) -> str:
    """What a restart does besides, in a sentence or two; empty: nothing that anybody notices."""
    if CONTAINER.fullmatch(node.path):
        return "Its execs end. The container itself runs on."
    return _COSTS.get(node.path, "")


class Tree(Protocol):
    """The supervision tree."""

    def tree(self, depth: int | None = None) -> Node:
        """Its picture."""
        ...


def find_node(tree: Tree, path: str) -> Node:
    """The part at `path`.

    Raises:
        NotFound: there is none now.
    """
    node = next((n for n in tree.tree().walk() if n.path == path), None)
    if node is None:
        raise NotFound(f"No such part: {path[:500]}")
    return node


class Owner(Protocol):
    """A supervisor in the tree."""

    async def renew_child(self, child_id: str) -> None:
        """End a child and start it again."""
        ...


class RestartableTree(Tree, Protocol):
    """The supervision tree, with the way to its supervisors."""

    def locate(self, path: str) -> tuple[Owner, str]:
        """The supervisor of a part, and the part's id there."""
        ...


class Restarts:
    """Restarts parts by hand."""

    def __init__(self, tree: RestartableTree) -> None:
        self._tree = tree

    async def restart(self, path: str) -> None:
        """Restart the part at `path`; return when it is ready again.

        Carried through once begun, even if the caller is cancelled.

        Raises:
            NotFound: there is no such part.
            Conflict: it is not to be restarted by hand, or not now.
            EngineError: it did not start again; its supervisor goes on trying.
        """
        node = find_node(self._tree, path)
        why_not = refusal(node)
        if why_not:
            raise Conflict(f"{path} is not restarted: {why_not}")
        logger.bind(service="observer").info("restart asked for", part=path)
        try:
            owner, child_id = self._tree.locate(path)
            await owner.renew_child(child_id)
        except NoSuchChild as error:
            raise NotFound(f"No such part: {path}") from error
        except (Restarting, BadSpec) as error:
            raise Conflict(f"{path} is not restarted: {error}") from error
        except NotRunning as error:
            raise Unavailable(f"{path} was not restarted: {error}") from error
        except StartFailed as error:
            cause = error.__cause__ or error
            raise EngineError(f"{path} did not start again, and is tried again: {cause}") from error
