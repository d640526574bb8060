"""What is done in a container's namespace besides making links. The functions block."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from services.errors import EngineError
from services.networks.endpoints import Endpoint, gateways
from services.networks.kernel.netns import enter_namespace, write_sysctls
from services.networks.sandboxes.attach import detach, set_routes


def preparation(path: Path, endpoints: Sequence[Endpoint]) -> Callable[[], None] | None:
    """What is to be written inside before the links get their addresses."""
    settings: dict[str, str] = {}
    for endpoint in endpoints:
        if endpoint.address6:
            settings[f"net/ipv6/conf/{endpoint.interface}/disable_ipv6"] = "0"
            settings[f"net/ipv6/conf/{endpoint.interface}/accept_ra"] = "0"
            settings[f"net/ipv6/conf/{endpoint.interface}/accept_dad"] = "0"
        for text in endpoint.sysctls:
            name, _, value = text.partition("=")
            _, family, kind, _, setting = name.split(".", 4)
            settings[f"net/{family}/{kind}/{endpoint.interface}/{setting}"] = value
    return partial(_write_settings, path, settings) if settings else None


@contextmanager
def entered(path: Path) -> Iterator[socket.socket]:
    """A route socket that lives inside.

    Raises:
        EngineError: there is no such namespace, or the kernel refuses what is done in the block.
    """
    with refusals():
        inside = enter_namespace(path)
        if inside is None:
            raise EngineError(f"the container's network namespace is gone: {path}")
        with inside:
            yield inside


@contextmanager
def refusals() -> Iterator[None]:
    """Turns what the kernel refuses in the block into an EngineError."""
    try:
        yield
    except OSError as error:
        raise EngineError(f"network link not changed: {error.strerror or error}") from error


def remove_link(path: Path, endpoint: Endpoint, rest: Sequence[Endpoint]) -> None:
    """Take one link away, gone already is fine, with its namespace too; the ways out are through
    the rest.

    Raises:
        EngineError: the kernel refuses it.
    """
    with refusals():
        inside = enter_namespace(path)
        if inside is None:
            detach(None, endpoint)
            return
        with inside:
            detach(inside, endpoint)
            set_routes(inside, gateways(rest))


def remove_links(path: Path, endpoints: Sequence[Endpoint]) -> None:
    """Take the links out of a namespace that may be there. About 30 ms for each."""
    inside = enter_namespace(path)
    if inside is not None:
        with inside:
            for endpoint in endpoints:
                detach(inside, endpoint)


def _write_settings(path: Path, settings: dict[str, str]) -> None:
    try:
        write_sysctls(path, settings)
    except OSError as error:
        reason = f"{error.strerror or error}: {error.filename or ', '.join(settings)}"
        raise EngineError(f"failed to set a network interface's sysctl: {reason}") from error
