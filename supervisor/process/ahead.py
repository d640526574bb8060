"""What is started before the engine is imported, and comes up beside that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import SOCK_STREAM
from typing import Final

import services.networks.nft
from services.containerd.ahead import Ahead
from services.networks.helpers.ahead import HelperAhead
from supervisor.configuration.settings import Settings

from .own_containerd import containerd_config

# Its file alone: what it imports is for its own process.
_NFT: Final = str(Path(services.networks.nft.__file__).with_name("nft_process.py"))


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedAhead:
    """Each may be None: then it is started by the part that wants it, or wanted by none."""

    containerd: Ahead | None = None
    firewall: HelperAhead | None = None


@contextmanager
def started_ahead(settings: Settings) -> Iterator[StartedAhead]:
    """Start what these settings want; what nobody has taken by then is ended with the block."""
    with ExitStack() as held:
        config = containerd_config(settings)
        yield StartedAhead(
            containerd=None if config is None else held.enter_context(Ahead(config)),
            firewall=held.enter_context(HelperAhead(_NFT, SOCK_STREAM))
            if settings.network.firewall
            else None,
        )
