"""Other names for containers."""

from __future__ import annotations

import msgspec

from services.containers.container import Container
from services.containers.journal import Journal, container_event
from services.containers.names import checked_name
from services.containers.networking.naming import Naming
from services.containers.table import ContainerTable
from services.errors import Conflict, InvalidParameter


class Renamer:
    """Renames containers, each in its turn."""

    def __init__(self, *, table: ContainerTable, journal: Journal, naming: Naming) -> None:
        self._table, self._journal, self._naming = table, journal, naming

    async def rename(self, container: Container, name: str) -> None:
        """Give a container another name. Source: Engine API, ContainerRename.

        Raises:
            InvalidParameter: no name, or one that Docker does not allow.
            Conflict: somebody has it.
        """
        if not name:
            raise InvalidParameter("Neither old nor new names may be empty")
        async with container.turn("its renaming"):
            old = container.name
            if name.removeprefix("/") == old:
                raise InvalidParameter(
                    "Renaming a container with the same name as its current name"
                )
            name = self._reserve_new_name(container, name)
            try:
                definition = msgspec.structs.replace(container.definition, name=name)
                event = container_event(container, "rename", {"oldName": f"/{old}", "name": name})
                await self._journal.set_definition(container, definition, event)
            except BaseException:
                self._table.release_name(name, container.id)
                raise
            self._table.release_name(old, container.id)
            self._naming.renamed(container)

    def _reserve_new_name(self, container: Container, name: str) -> str:
        """The name without its slash; refusals say what for, as dockerd's do."""
        try:
            name = checked_name(f"/{name.removeprefix('/')}")
            self._table.reserve_name(name, container.id)
        except (InvalidParameter, Conflict) as error:
            raise type(error)(f"Error when allocating new name: {error}") from error
        return name
