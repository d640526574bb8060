"""What follows from the cluster's keys: who encrypts what with which."""

from __future__ import annotations

from ipaddress import AddressValueError
from itertools import pairwise

import pytest

from services.networks.overlay.encryption import Encryption, NodeKey, plan_encryption

HERE, THERE, THIRD = "10.0.0.1", "10.0.0.2", "10.0.0.3"
KEYS = tuple(NodeKey(number=number, secret=bytes([number]) * 32) for number in range(1, 6))


def plan(own: str, *peers: str, keys: tuple[NodeKey, ...] = KEYS[:3]) -> Encryption:
    return plan_encryption(own, 4790, peers, keys)


def understands(receiver: Encryption, sender: Encryption) -> bool:
    """Whether what one sends the other is decrypted: it has the very state for it."""
    spi = sender.sent_by[receiver.own]
    for one in receiver.associations:
        if (one.source, one.destination, one.spi) == (sender.own, receiver.own, spi):
            (sent,) = (each for each in sender.associations if each == one)
            return sent.cipher == one.cipher
    return False


@pytest.mark.parametrize("count", [1, 2, 3])
def test_two_nodes_with_the_same_keys_understand_each_other(count: int) -> None:
    """Whatever order the keys come in."""
    here = plan(HERE, THERE, keys=KEYS[:count])
    there = plan(THERE, HERE, keys=tuple(reversed(KEYS[:count])))
    assert understands(here, there)
    assert understands(there, here)


def test_nodes_understand_each_other_while_keys_are_renewed() -> None:
    """One that has heard of the new key and one that has not, both ways."""
    rings = [KEYS[:2], *(KEYS[start : start + 3] for start in range(3))]
    for before, after in pairwise(rings):
        late, early = plan(HERE, THERE, keys=before), plan(THERE, HERE, keys=after)
        assert understands(late, early)
        assert understands(early, late)


def test_no_cipher_is_used_twice() -> None:
    """Each direction between two nodes has its own under each key: nonces may be the same."""
    plans = [plan(HERE, THERE, THIRD), plan(THERE, HERE, THIRD), plan(THIRD, HERE, THERE)]
    every = {one: one.cipher for each in plans for one in each.associations}
    assert len(every) == 6 * 3
    assert len(set(every.values())) == len(every)
    assert all(one.spi >= 256 for one in every)
    assert all(len(cipher) == 36 for cipher in every.values())


def test_without_keys_nothing_is_sent() -> None:
    """And to nobody else than the peers."""
    assert plan(HERE, THERE, keys=()).sent_by == {}
    assert plan(HERE, THERE, keys=()).associations == frozenset()
    ends = {(one.source, one.destination) for one in plan(HERE, THERE).associations}
    assert ends == {(HERE, THERE), (THERE, HERE)}


def test_keys_are_not_shown() -> None:
    """Nor what was derived of them."""
    shown = repr(plan(HERE, THERE)) + repr(KEYS)
    assert "cipher" not in shown
    assert "secret" not in shown


@pytest.mark.parametrize("peer", ["fd00::1", "", "x"])
def test_an_address_that_is_none(peer: str) -> None:
    with pytest.raises(AddressValueError):
        plan(HERE, peer)
