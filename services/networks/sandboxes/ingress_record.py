"""What the ingress namespace has, in a file beside it: the next daemon knows it before any manager
answers, and published ports lead on meanwhile.

The file goes with the namespaces at a reboot: it need not be synced. The functions block.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from services import typed_json
from services.networks.endpoints import Endpoint
from services.networks.kernel.netns import enter_namespace
from services.networks.ports import PublishedPort

INGRESS_SANDBOX: Final = "ingress"
"""The namespace that is no container's: published ports of the cluster lead into it."""


class IngressRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Its places in networks, and the ports of the host that lead to it, by their owner."""

    endpoints: tuple[Endpoint, ...] = ()
    ports: dict[str, tuple[PublishedPort, ...]] = {}


def read_ingress(path: Path, namespace: Path) -> IngressRecord:
    """What was written; nothing if that cannot be read, or the namespace is not held any more."""
    try:
        record = typed_json.decode(path.read_bytes(), IngressRecord)
    except (OSError, msgspec.DecodeError):
        return IngressRecord()
    inside = enter_namespace(namespace)
    if inside is None:
        return IngressRecord()
    inside.close()
    return record


def write_ingress(path: Path, record: IngressRecord) -> None:
    """Replace the file so that a crash leaves the old bytes or the new.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(msgspec.json.encode(record))
    temporary.replace(path)
