"""What drivers send is what their protocols' own grammars take, with dockerd's fields in it."""

from __future__ import annotations

import json

import pytest

from services.containers.logs.remote.fluentd import ForwardFormat
from services.containers.logs.remote.gelf import GelfFormat, chunks_of, compress
from services.containers.logs.remote.journald import JournalFormat, field_name
from services.containers.logs.remote.lines import Partial
from services.containers.logs.remote.syslog import SyslogFormat, parse_syslog
from services.containers.stdio import Stream
from tests.services.containers.logs.remote.receivers import (
    GelfAssembler,
    decode_forward,
    parse_3164,
    parse_5424,
    parse_entry,
    split_octets,
)
from tests.services.containers.logs.remote.samples import ID, TIME_NS, info, line

PIECE = Partial("f" * 64, 2, False)


def syslog(config: dict[str, str], tag: str = "web") -> SyslogFormat:
    """A format as its driver makes it."""
    return SyslogFormat(parse_syslog(config), tag=tag, hostname="box", pid=7)


@pytest.mark.parametrize(
    ("format", "time"),
    [("rfc5424", b"2026-11-30T00:53:20Z"), ("rfc5424micro", b"2026-11-30T00:53:20.123456Z")],
)
def test_rfc_5424(format: str, time: bytes) -> None:
    """Tag as application and message id, facility and severity as one number, the text as it is."""
    config = {"syslog-format": format, "syslog-facility": "local3"}
    fields = parse_5424(syslog(config).message(line(b"a \xff [b]", Stream.STDERR))[:-1])
    assert fields == {
        "pri": b"%d" % (19 * 8 + 3),
        "time": time,
        "host": b"box",
        "app": b"web",
        "pid": b"7",
        "msgid": b"web",
        "data": b"-",
        "text": b"a \xff [b]",
    }


def test_rfc_5424_takes_any_tag() -> None:
    """A tag with spaces, or longer than a field may be, leaves a message that parses."""
    fields = parse_5424(
        syslog({"syslog-format": "rfc5424"}, tag="ä b" + "x" * 90).message(line(b"t"))[:-1]
    )
    assert fields["app"] == b"__b" + b"x" * 45
    assert fields["msgid"] == b"__b" + b"x" * 29


def test_rfc_3164_and_the_local_form() -> None:
    """With a host name for servers, and without one for the machine's own."""
    fields = parse_3164(syslog({"syslog-format": "rfc3164"}).message(line(b"hello"))[:-1])
    assert (fields["pri"], fields["host"], fields["tag"]) == (b"30", b"box", b"web")
    assert fields["text"] == b"hello"
    assert b" web[7]: hello\n" in syslog({}).message(line(b"hello"))
    assert b"box" not in syslog({}).message(line(b"hello"))


def test_octets_are_counted_over_tls() -> None:
    """RFC 5425's framing, for RFC 5424's formats alone, as in dockerd."""
    address = {"syslog-address": "tcp+tls://127.0.0.1:1"}
    made = syslog({"syslog-format": "rfc5424", **address})
    messages = split_octets(made.message(line(b"one")) + made.message(line(b"two")))
    assert [parse_5424(m.rstrip(b"\n"))["text"] for m in messages] == [b"one", b"two"]
    assert syslog({"syslog-format": "rfc3164", **address}).message(line(b"x")).startswith(b"<30>")


def test_journald() -> None:
    """dockerd's field names; values with newlines keep them; labels become legal names."""
    config = {"tag": "{{.Name}}/{{.ID}}", "labels": "team.name,_own", "env": "COLOUR"}
    made = JournalFormat(info(config, labels={"team.name": "blue\nand red", "_own": "1"}))
    entry = parse_entry(made.entry(line(b"text=\xff", Stream.STDERR, PIECE)))
    assert entry == {
        "MESSAGE": b"text=\xff",
        "PRIORITY": b"3",
        "CONTAINER_ID": ID[:12].encode(),
        "CONTAINER_ID_FULL": ID.encode(),
        "CONTAINER_NAME": b"web",
        "CONTAINER_TAG": b"web/" + ID[:12].encode(),
        "SYSLOG_IDENTIFIER": b"web/" + ID[:12].encode(),
        "IMAGE_NAME": b"busybox",
        "TEAM_NAME": b"blue\nand red",
        "OWN": b"1",
        "COLOUR": b"red",
        "SYSLOG_TIMESTAMP": b"2026-11-30T00:53:20.123456789Z",
        "CONTAINER_PARTIAL_ID": b"f" * 64,
        "CONTAINER_PARTIAL_ORDINAL": b"2",
        "CONTAINER_PARTIAL_LAST": b"false",
        "CONTAINER_PARTIAL_MESSAGE": b"true",
    }
    last = parse_entry(made.entry(line(b"", partial=Partial("f" * 64, 3, True))))
    assert "CONTAINER_PARTIAL_MESSAGE" not in last
    assert last["CONTAINER_PARTIAL_LAST"] == b"true"
    assert field_name("_9ä-b") == "9__B"


@pytest.mark.parametrize("kind", ["gzip", "zlib", "none"])
def test_gelf_over_udp(kind: str) -> None:
    """A short message is one packet, a long one comes together again from its chunks."""
    made = GelfFormat(info({"labels": "team.name,_own", "env": "COLOUR"}))
    assembler = GelfAssembler()
    noise = bytes(range(0x21, 0x7F)) * 700
    for text in (b"short", noise, b"\xff\x00<"):
        packets = chunks_of(compress(made.message(line(text)), kind, 1), b"8 bytes.")
        *rest, message = [assembler.take(packet) for packet in packets[::-1]]
        assert not any(rest)
        assert message is not None
        assert message["short_message"] == text.decode(errors="replace")
    assert message is not None
    assert message["version"] == "1.1"
    assert message["timestamp"] == TIME_NS // 10**6 / 1000
    assert message["level"] == 6
    assert message["_container_name"] == "web"
    assert message["_team.name"] == "blue"
    assert message["_own"] == "1"
    assert message["_COLOUR"] == "red"
    assert "_SECRET" not in json.dumps(message)


def test_gelf_has_128_chunks_at_most() -> None:
    """Longer than that is nothing that a server would put together."""
    assert chunks_of(b"x" * 128 * 1408, b"8 bytes.")
    assert chunks_of(b"x" * (128 * 1408 + 1), b"8 bytes.") == []


def test_fluentd() -> None:
    """One Forward message: pairs of time and record, whole seconds or with nanoseconds."""
    made = ForwardFormat(info({"tag": "docker.{{.Name}}", "env": "COLOUR"}), sub_second=False)
    ((tag, entries, options),), rest = decode_forward(
        made.message([line(b"one"), line(b"tw\xff", Stream.STDERR, PIECE)], "chunk")
    )
    assert rest == b""
    assert (tag, options) == ("docker.web", {"size": 2, "chunk": "chunk"})
    base = {"container_id": ID, "container_name": "/web", "COLOUR": "red"}
    assert entries[0] == [TIME_NS // 10**9, {**base, "source": "stdout", "log": "one"}]
    assert entries[1][1] == {
        **base,
        "source": "stderr",
        "log": "tw�",
        "partial_message": "true",
        "partial_id": "f" * 64,
        "partial_ordinal": "2",
        "partial_last": "false",
    }
    exact = ForwardFormat(info(), sub_second=True).message([line(b"one")])
    ((_, ((time, _),), options),), _ = decode_forward(exact)
    assert (time.code, options) == (0, {"size": 1})
    assert time.data == (TIME_NS // 10**9).to_bytes(4, "big") + (123456789).to_bytes(4, "big")
