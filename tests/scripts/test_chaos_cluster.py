"""The verdict over a swarm's history: what it finds wrong, and what it lets pass."""

from __future__ import annotations

from collections.abc import Sequence

from chaoslib.cluster.history import ClusterHistory, Fault, Read, Write
from chaoslib.cluster.registers import check_chain, check_reads
from chaoslib.cluster.run import bugs_in
from chaoslib.cluster.timing import calm_silence_s, longest_s, silences
from chaoslib.cluster.verdict import longest_absence_s

FIRST = 1


def update(
    value: int, *, before: int, seen: int, at_s: float, ok: bool | None = True, host: str = "m1"
) -> Write:
    """One that took a tenth of a second."""
    write = Write("c", "label", "s", at_s, at_s + 0.1, ok)
    write.value, write.before, write.seen, write.host = value, before, seen, host
    write.content = f"is {value}"
    return write


def read(version: int, content: str, at_s: float, host: str = "m1") -> Read:
    return Read(host, "s", version, content, at_s, at_s + 0.1)


def wrong(writes: Sequence[Write], last: int) -> list[str]:
    return list(check_chain("s", FIRST, writes, last, f"is {last}"))


def test_updates_one_after_the_other_are_right() -> None:
    """What nobody got an answer for may have been made, and may not; what was refused was not."""
    two = update(2, before=1, seen=10, at_s=0)
    three = update(3, before=2, seen=11, at_s=1, ok=None)
    lost = update(4, before=2, seen=11, at_s=1.05, ok=None)
    refused = update(5, before=2, seen=11, at_s=1.1, ok=False)
    six = update(6, before=3, seen=12, at_s=2)
    assert wrong([two, three, lost, refused, six], 6) == []


def test_a_lost_update_is_found() -> None:
    """Two were acknowledged at one version: only one of them is followed by what came later."""
    two = update(2, before=1, seen=10, at_s=0)
    three = update(3, before=1, seen=10, at_s=0)
    (told,) = wrong([two, three], 3)
    assert "to 2" in told
    assert told.endswith("and it is lost")


def test_a_refused_update_that_was_made_is_found() -> None:
    """Also when another one has followed it."""
    two = update(2, before=1, seen=10, at_s=0, ok=False)
    three = update(3, before=2, seen=11, at_s=1)
    (told,) = wrong([two, three], 3)
    assert "was refused" in told
    assert told.endswith("and it was made")


def test_what_nobody_wrote_is_found() -> None:
    """And what ends otherwise than its last update said."""
    (told,) = wrong([update(2, before=1, seen=10, at_s=0)], 9)
    assert "nobody has written" in told
    (told,) = check_chain("s", FIRST, [update(2, before=1, seen=10, at_s=0)], 2, "is old")
    assert "it ends as is old" in told


def test_an_update_that_goes_back_in_time_is_found() -> None:
    """It was acknowledged before the one that it follows had begun; and versions grow."""
    late = update(2, before=1, seen=10, at_s=5)
    early = update(3, before=2, seen=11, at_s=0)
    assert ["stands behind 2" in told for told in wrong([late, early], 3)] == [True]
    first = update(2, before=1, seen=11, at_s=0)
    second = update(3, before=2, seen=11, at_s=1)
    assert ["follows version" in told for told in wrong([first, second], 3)] == [True]


def test_reads_of_one_manager_do_not_go_back() -> None:
    """Nor behind what it has acknowledged. Those of different managers may differ."""
    writes = [update(2, before=1, seen=10, at_s=0)]
    fine = [read(11, "is 2", 0.2), read(10, "is 1", 0.2, "m2"), read(12, "is 3", 1)]
    assert list(check_reads("s", fine, writes)) == []
    back = [read(12, "is 3", 1), read(11, "is 2", 2)]
    assert ["showed version 12" in told for told in check_reads("s", back, [])] == [True]
    stale = [read(10, "is 1", 0.5)]
    assert ["acknowledged" in told for told in check_reads("s", stale, writes)] == [True]
    both = [read(10, "is 1", 0), read(10, "is 9", 0, "m2")]
    assert ["elsewhere" in told for told in check_reads("s", both, [])] == [True]


def test_silences_are_of_managers_that_were_not_hit() -> None:
    """The one that was may be silent; the edges count."""
    assert longest_s([1.0, 1.5, 4.0], 0.0, 5.0) == 2.5
    assert longest_s([], 2.0, 5.0) == 3.0
    calm = ClusterHistory(calm_s=(0.0, 3.0))
    calm.writes = [update(at, before=0, seen=0, at_s=at) for at in (1, 2, 11)]
    calm.faults = [Fault("cut", "m1", 3.0, 8.0, 9.0), Fault("cut", "m1", 12.0, 15.0, 16.0)]
    assert round(calm_silence_s(calm, ["m1"]), 1) == 2.1
    history = ClusterHistory()
    history.faults = [Fault("cut", "m1", 10.0, 15.0, 16.0)]
    for host, times in (("m1", (9, 19)), ("m2", (9, 12, 14, 16, 18)), ("m3", (10.2, 15, 18.5))):
        history.writes += [
            update(int(10 * at), before=0, seen=0, at_s=at - 0.1, host=host) for at in times
        ]
    found = {
        one.host: (round(one.resumed_s, 1), round(one.longest_s, 1))
        for one in silences(history, ["m1", "m2", "m3"], 30)
    }
    assert found == {"m2": (2.0, 2.0), "m3": (0.2, 4.8)}


def test_an_absence_lasts_until_tcp_has_tried_again() -> None:
    """Cuts that follow one another sooner than that are one."""
    far = [Fault("cut link", "w", 0.0, 5.0, 6.0), Fault("cut link", "w", 11.0, 18.0, 18.0)]
    assert longest_absence_s(far) == 14.0
    near = [Fault("cut link", "w", 0.0, 5.0, 6.0), Fault("cut link", "w", 9.0, 14.0, 14.0)]
    assert longest_absence_s(near) == 19.0
    assert longest_absence_s([Fault("kill daemon", "w", 0.0, 5.0, 6.0)]) == 5.0
    assert longest_absence_s([]) == 0.0


def test_the_end_of_an_etcd_is_no_bug() -> None:
    """The nemesis has killed it; another traceback is one."""
    log = (
        "2026-01-01T00:00:00Z ERROR child terminated\nTraceback x\netcd (pid 1) ended with status "
        "-9: x\n2026-01-01T00:00:01Z INFO fine\n"
    )
    assert bugs_in(log) == []
    assert len(bugs_in(f"{log}2026-01-01T00:00:02Z ERROR bug\nTraceback y\n")) == 1
