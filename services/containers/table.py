"""All containers, found by id, by name and by the beginning of an id."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator

from services.containers.container import Container
from services.containers.model import ContainerId
from services.errors import Conflict, InvalidParameter, NotFound


class ContainerTable:
    """The containers in memory. Names are reserved here before a container is made."""

    def __init__(self) -> None:
        self._by_id: dict[ContainerId, Container] = {}
        self._id_of_name: dict[str, ContainerId] = {}
        self._sorted_ids: list[ContainerId] = []
        self._linked_by: dict[str, set[ContainerId]] = {}  # ids of those that had links to it
        self.revision = 0
        """Grows whenever a container comes or goes."""

    def __iter__(self) -> Iterator[Container]:
        return iter(tuple(self._by_id.values()))

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, container_id: str) -> Container | None:
        """The container with exactly this id."""
        return self._by_id.get(ContainerId(container_id))

    def find(self, ref: str) -> Container:
        """The container that `ref` names: its id, its name, or a beginning that only its id has.

        "parent/alias" is the container to which the parent has a link of that alias.

        Raises:
            NotFound: nothing matches.
            InvalidParameter: several ids begin with `ref`, or it is empty.
        """
        if not ref:
            raise InvalidParameter("No container name or ID supplied")
        found = self.get(ref) or self._by_id.get(
            self._id_of_name.get(ref.removeprefix("/"), ContainerId(""))
        )
        found = found or self._linked(ref.removeprefix("/"))
        return found or self._by_id[self._id_beginning_with(ref)]

    def _linked(self, ref: str) -> Container | None:
        name, slash, alias = ref.partition("/")
        parent = self._by_id.get(self._id_of_name.get(name, ContainerId(""))) if slash else None
        links = parent.definition.links if parent is not None else ()
        return next((self.get(link.child) for link in links if link.alias == alias), None)

    def parents_of(self, container: Container) -> list[Container]:
        """The containers that have a link to this one, by name."""
        ids = self._linked_by.get(container.id, ())
        parents = (self._by_id[i] for i in ids if i in self._by_id)
        return sorted(
            (p for p in parents if any(link.child == container.id for link in p.definition.links)),
            key=lambda parent: parent.name,
        )

    def link_names_of(self, container: Container) -> tuple[str, ...]:
        """The names that others' links give it, with Docker's slash."""
        if container.id not in self._linked_by:  # as most: lists ask this of each container
            return ()
        return tuple(
            f"/{parent.name}/{link.alias}"
            for parent in self.parents_of(container)
            for link in parent.definition.links
            if link.child == container.id
        )

    def _id_beginning_with(self, prefix: str) -> ContainerId:
        at = bisect_left(self._sorted_ids, prefix)
        matches = [i for i in self._sorted_ids[at : at + 2] if i.startswith(prefix)]
        if not matches:
            raise NotFound(f"No such container: {prefix}")
        if len(matches) > 1:
            raise InvalidParameter(f"multiple IDs found with provided prefix: {prefix}")
        return matches[0]

    def is_name_taken(self, name: str) -> bool:
        """Whether a container has or is being given `name`."""
        return name in self._id_of_name

    def is_reserved(self, container_id: str) -> bool:
        """Whether a container has this id, or one is being made with it."""
        return container_id in self._by_id or container_id in self._id_of_name.values()

    def reserve_name(self, name: str, container_id: ContainerId) -> None:
        """Give `name` to a container that is being made or renamed.

        Raises:
            Conflict: somebody has it.
        """
        holder = self._id_of_name.setdefault(name, container_id)
        if holder != container_id:
            raise Conflict(
                f'Conflict. The container name "/{name}" is already in use by '
                f'container "{holder}". '
                "You have to remove (or rename) that container to be able to reuse that name."
            )

    def release_name(self, name: str, container_id: ContainerId) -> None:
        """Let others have `name`, if it is this container's."""
        if self._id_of_name.get(name) == container_id:
            del self._id_of_name[name]

    def add(self, container: Container) -> None:
        """Make a container known; its name must be reserved or free."""
        self.reserve_name(container.name, container.id)
        self._by_id[container.id] = container
        insort(self._sorted_ids, container.id)
        for link in container.definition.links:
            self._linked_by.setdefault(link.child, set()).add(container.id)
        self.revision += 1

    def remove(self, container: Container) -> None:
        """Forget a container and its name."""
        if self._by_id.pop(container.id, None) is None:
            return
        self.release_name(container.name, container.id)
        self._linked_by.pop(container.id, None)
        for link in container.definition.links:
            self._linked_by.get(link.child, set()).discard(container.id)
        del self._sorted_ids[bisect_left(self._sorted_ids, container.id)]
        self.revision += 1
