"""DNS messages as bytes. No I/O.

Messages are passed on as they came, and not taken apart and put together again: there are kinds of
records that nobody here knows, and names may hold any bytes. The libraries do that: dnslib refuses
names that are not UTF-8 and loses what it does not know, dnspython takes twice its time. The tests
compare with dnslib.

Source: RFC 1035 section 4, RFC 6891.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

HEADER_BYTES: Final = 12
LARGEST: Final = 65535
SMALLEST_UDP: Final = 512
"""What a client can take by UDP if it says nothing else."""

A: Final = 1
SOA: Final = 6
PTR: Final = 12
MX: Final = 15
AAAA: Final = 28
OPT: Final = 41

NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)

_HEADER: Final = struct.Struct("!HHHHHH")
_FIXED: Final = struct.Struct("!HHIH")
_KIND: Final = struct.Struct("!HH")
LONGEST_LABEL: Final = 63
LONGEST_NAME: Final = 255

_INTERNET: Final = 1
_TO_QUESTION: Final = b"\xc0\x0c"
"""A pointer to the name in the question, which every answer is about."""

_IS_ANSWER: Final = 0x8000
_IS_TRUNCATED: Final = 0x0200
_RECURSION_AVAILABLE: Final = 0x0080
_KEPT_IN_ANSWERS: Final = 0x7910
"""Opcode, recursion desired, checking disabled."""


class Malformed(ValueError):
    """The bytes are no DNS message."""


@dataclass(frozen=True, slots=True)
class Record:
    """Where a record is in its message. `section` is 0 for answers, 1 authority, 2 additional.

    A `ttl` beyond 31 bits counts as 0 (RFC 2181 section 8).
    """

    section: int
    type: int
    class_: int
    ttl: int
    ttl_at: int
    data_at: int
    end: int


def id_of(message: bytes) -> int:
    """The number by which an answer is known."""
    return int.from_bytes(message[:2], "big")


def with_id(message: bytes, number: int) -> bytes:
    """The message under another number."""
    return number.to_bytes(2, "big") + message[2:]


def is_answer(message: bytes) -> bool:
    """Whether it says that it is one."""
    return len(message) >= HEADER_BYTES and message[2] & 0x80 != 0


def is_truncated(message: bytes) -> bool:
    """Whether the rest is to be had by TCP only."""
    return message[2] & (_IS_TRUNCATED >> 8) != 0


def rcode_of(message: bytes) -> int:
    """How it went; see NOERROR and the others."""
    return message[3] & 0x0F


def question_of(message: bytes) -> bytes:
    """The one question, its name in lower case: what an answer must repeat.

    Raises:
        Malformed: there is none, or more than one.
    """
    if len(message) < HEADER_BYTES or _HEADER.unpack_from(message)[2] != 1:
        raise Malformed("not exactly one question")
    end = _name_end(message, HEADER_BYTES) + 4
    if end > len(message):
        raise Malformed("the question is cut off")
    return message[HEADER_BYTES : end - 4].lower() + message[end - 4 : end]


def asked_for(message: bytes) -> tuple[str, int]:
    """The name in lower case, without the last dot, and the type. Raises Malformed.

    A dot within a label, and what is not UTF-8, are written with a backslash: so they are no name
    of ours.
    """
    labels, at = [], HEADER_BYTES
    question_of(message)
    while length := message[at]:
        if length > LONGEST_LABEL:
            raise Malformed("a pointer in the question")
        label = message[at + 1 : at + 1 + length]
        labels.append(label.decode(errors="backslashreplace").replace(".", "\\.").lower())
        at += 1 + length
    return ".".join(labels), _KIND.unpack_from(message, at + 1)[0]


def reply(query: bytes, data: Sequence[tuple[int, bytes]], *, ttl_s: int, is_cut: bool) -> bytes:
    """An answer of records about the name in the question: of each its type and data.

    `is_cut`: there are more.
    """
    question = query[HEADER_BYTES : HEADER_BYTES + len(question_of(query))]
    flags = _answer_flags(query) | (_IS_TRUNCATED if is_cut else 0)
    head = query[:2] + struct.pack("!HHHHH", flags, 1, len(data), 0, 0)
    return b"".join(
        (
            head,
            question,
            *(
                _TO_QUESTION + _FIXED.pack(kind, _INTERNET, ttl_s, len(value)) + value
                for kind, value in data
            ),
        )
    )


def with_edns(message: bytes, most_bytes: int) -> bytes:
    """An answer that had no additional records, with our word that we know EDNS."""
    opt = b"\0" + _FIXED.pack(OPT, most_bytes, 0, 0)
    return message[:10] + b"\0\1" + message[12:] + opt


def encoded_name(name: str) -> bytes | None:
    """A name as messages have it; None if it cannot be one."""
    labels = [label.encode() for label in name.split(".")]
    if not all(0 < len(label) <= LONGEST_LABEL for label in labels):
        return None
    encoded = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    return encoded if len(encoded) <= LONGEST_NAME else None


def refusal(query: bytes, rcode: int) -> bytes:
    """An answer to a query that holds nothing but a code, and the question if it can be read."""
    try:
        question = query[HEADER_BYTES : HEADER_BYTES + len(question_of(query))]
    except Malformed:
        question = b""
    counts = struct.pack("!HHHHH", _answer_flags(query) | rcode, bool(question), 0, 0, 0)
    return query[:2] + counts + question


def records(message: bytes) -> Iterator[Record]:
    """Every record, as it stands.

    Raises:
        Malformed: the message ends before they do.
    """
    if len(message) < HEADER_BYTES:
        raise Malformed("shorter than a header")
    _, _, questions, *counts = _HEADER.unpack_from(message)
    at = HEADER_BYTES
    for _ in range(questions):
        at = _name_end(message, at) + 4
    for section, count in enumerate(counts):
        for _ in range(count):
            at = _name_end(message, at)
            if at + _FIXED.size > len(message):
                raise Malformed("a record is cut off")
            kind, class_, ttl, length = _FIXED.unpack_from(message, at)
            data_at = at + _FIXED.size
            end = data_at + length
            if end > len(message):
                raise Malformed("a record is cut off")
            believed = ttl if ttl < 1 << 31 else 0
            yield Record(section, kind, class_, believed, at + 4, data_at, end)
            at = end


def soa_minimum(message: bytes, record: Record) -> int:
    """The last of a SOA's numbers: how long the absence of a name may be believed, in seconds."""
    if record.end - record.data_at < 22:  # two names of one byte, five numbers
        raise Malformed("a SOA that is too short")
    return int.from_bytes(message[record.end - 4 : record.end], "big")


def _answer_flags(query: bytes) -> int:
    flags: int = _HEADER.unpack_from(query)[1]
    return flags & _KEPT_IN_ANSWERS | _IS_ANSWER | _RECURSION_AVAILABLE


def _name_end(message: bytes, at: int) -> int:
    """Where a name ends: after its last label, or after the pointer to the rest of it."""
    while at < len(message):
        length = message[at]
        if length == 0:
            return at + 1
        if length >= 0xC0:
            return at + 2
        if length > 63:
            raise Malformed("a label of an unknown kind")
        at += 1 + length
    raise Malformed("a name is cut off")
