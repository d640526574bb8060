"""The rule that gives the cluster the keys of its encrypted networks, and renews them.

Nodes receive with all keys and send with the last but one, so a new key has a whole period to come
to every node before anybody uses it, and an old one is known for a period after that.

Source: moby/swarmkit, manager/keymanager, which renews every 12 hours. Here it is each hour: a key
is good for 2^32 packets from one node to another, and is used up in 12 hours by 1 Gbit/s already.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from services.cluster.model.objects import Cluster, NetworkKey
from services.cluster.model.snapshot import Decision, Diff, Put, Snapshot, Transaction
from services.networks.overlay.values import wants_encryption

RENEW_EVERY: Final = timedelta(hours=1)
KEPT: Final = 3


def random_key() -> str:
    """256 bits in base64."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


class NetworkKeys:
    """There are none while no network is encrypted."""

    def __init__(self, *, new_key: Callable[[], str] = random_key) -> None:
        self._new_key = new_key

    def decide(self, snapshot: Snapshot, diff: Diff, now: datetime) -> Decision:  # noqa: ARG002 - a rule's shape
        """The keys that there are to be now."""
        cluster = snapshot.cluster
        leaving = (one.network for one in snapshot.leaving_networks.values())
        networks = (*snapshot.networks.values(), *leaving)
        if not any(wants_encryption(one.spec.options) for one in networks):
            return _put(cluster, [], now) if cluster.network_keys else Decision()
        keys = cluster.network_keys
        if not keys:
            return _put(cluster, [self._key(1, now), self._key(2, now)], now)
        due_at = keys[-1].made_at + RENEW_EVERY
        if now < due_at:
            return Decision(again_in_s=(due_at - now).total_seconds())
        return _put(cluster, [*keys, self._key(keys[-1].number + 1, now)][-KEPT:], now)

    def _key(self, number: int, now: datetime) -> NetworkKey:
        return NetworkKey(number=number, key=self._new_key(), made_at=now)


def _put(cluster: Cluster, keys: list[NetworkKey], now: datetime) -> Decision:
    after = replace(cluster, network_keys=keys, updated_at=now)
    return Decision(
        transactions=(Transaction((Put(after),)),),
        again_in_s=RENEW_EVERY.total_seconds() if keys else None,
        notes=("the keys of encrypted networks were renewed",),
    )
