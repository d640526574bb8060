"""Heads and bodies against h11 as the oracle, however the bytes are cut up on their way."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import h11
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.api.http.body import reader_for
from services.api.http.head import ProtocolError, parse_head, split_head


@dataclass(frozen=True)
class Seen:
    """One request as a parser understood it."""

    method: bytes
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


def ours(data: bytes, cuts: list[int]) -> list[Seen] | None:
    """The requests that we read from `data`, fed in pieces; None if anything in it is refused."""
    pieces = _pieces(data, cuts)
    buffer = bytearray()
    seen: list[Seen] = []
    try:
        while True:
            raw = split_head(buffer)
            while raw is None:
                if not pieces:
                    return seen
                buffer += pieces.pop(0)
                raw = split_head(buffer)
            head = parse_head(raw)
            reader = reader_for(head)
            body = b""
            while not reader.done:
                piece = reader.take(buffer)
                body += piece
                if not piece and not reader.done:
                    if not pieces:
                        return seen
                    buffer += pieces.pop(0)
            target = head.raw_path + (b"?" + head.query if head.query else b"")
            # h11 hands the coding out in lower case.
            headers = tuple(
                (n, v.lower() if n == b"transfer-encoding" else v) for n, v in head.headers
            )
            seen.append(Seen(head.method.encode(), target, headers, body))
            if not head.keep_alive:  # the server closes, and reads nothing after it
                return seen
    except ProtocolError:
        return None


def theirs(data: bytes) -> list[Seen] | None:
    """The same by h11."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=64 * 1024)
    connection.receive_data(data)
    seen: list[Seen] = []
    try:
        while True:
            event = connection.next_event()
            if not isinstance(event, h11.Request):
                return seen
            request, body = event, b""
            while True:
                event = connection.next_event()
                if isinstance(event, h11.Data):
                    body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    break
                else:
                    return seen
            headers = tuple((bytes(n), bytes(v)) for n, v in request.headers)
            seen.append(Seen(bytes(request.method), bytes(request.target), headers, body))
            connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
            connection.send(h11.EndOfMessage())
            if connection.our_state is h11.MUST_CLOSE:
                return seen
            connection.start_next_cycle()
    except h11.RemoteProtocolError:
        return None


def _pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(edges)]


names = st.sampled_from([b"X-A", b"Accept", b"x", b"User-Agent", b"X_Y", b"Content-Type"])
values = st.binary(max_size=20).map(lambda raw: bytes(c for c in raw if 0x20 < c < 0x7F))
targets = st.sampled_from([b"/", b"/a/b", b"/a?x=1&y=%20", b"/%41", b"/a;b", b"/_ping"])


@st.composite
def chunked(draw: st.DrawFn, body: bytes) -> bytes:
    """`body` in chunks of random sizes, spelled in random ways."""
    out = b""
    while body:
        size = draw(st.integers(1, len(body)))
        line = draw(st.sampled_from([b"%x", b"%X", b"00%x", b"%x;ext=1", b'%x;a="b c"'])) % size
        out += line + b"\r\n" + body[:size] + b"\r\n"
        body = body[size:]
    trailer = draw(st.sampled_from([b"", b"X-Sum: abc\r\n", b"A: 1\r\nB: 2\r\n"]))
    return out + b"0\r\n" + trailer + b"\r\n"


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """One valid HTTP/1.1 request."""
    method = draw(st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"HEAD"]))
    lines = [b"%b %b HTTP/1.1" % (method, draw(targets)), b"Host: d"]
    lines += [b"%b:%b" % field for field in draw(st.lists(st.tuples(names, values), max_size=4))]
    body = draw(st.binary(max_size=200))
    kind = draw(st.sampled_from(["none", "length", "chunked"]))
    if kind == "none":
        body = b""
    elif kind == "length":
        lines.append(b"Content-Length: %d" % len(body))
    else:
        lines.append(b"Transfer-Encoding: " + draw(st.sampled_from([b"chunked", b"Chunked"])))
        body = draw(chunked(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


cuts = st.lists(st.integers(0, 5000), max_size=12)


@settings(max_examples=400, deadline=None)
@given(data=st.lists(requests(), min_size=1, max_size=4).map(b"".join), cuts=cuts)
def test_pipelined_requests_read_as_h11_reads_them(data: bytes, cuts: list[int]) -> None:
    """Valid requests in a row come out the same, wherever the bytes were cut."""
    assert ours(data, cuts) == theirs(data)


@settings(max_examples=200, deadline=None)
@given(data=requests())
def test_every_single_cut_gives_the_same(data: bytes) -> None:
    """Byte by byte, and in one piece: no boundary is special."""
    assert ours(data, list(range(len(data)))) == ours(data, [])


@settings(max_examples=600, deadline=None)
@given(
    data=st.lists(requests(), min_size=1, max_size=2).map(b"".join),
    edits=st.lists(
        st.tuples(
            st.integers(0, 600),
            st.sampled_from(
                [b"\r", b"\n", b"\0", b" ", b"\t", b":", b";", b"0", b"-", b"+", b"x", b"\r\n", b""]
            ),
            st.booleans(),
        ),
        min_size=1,
        max_size=3,
    ),
    cuts=cuts,
)
@example(data=b"GET / HTTP/1.1\r\nHost: d\r\n\r\n", edits=[(14, b"", True)], cuts=[])
def test_of_mutated_requests_nothing_is_read_that_h11_refuses_or_reads_otherwise(
    data: bytes, edits: list[tuple[int, bytes, bool]], cuts: list[int]
) -> None:
    """We may refuse more than h11 does, but never see other requests in the same bytes."""
    for position, text, replaces in edits:
        at = position % (len(data) + 1)
        data = data[:at] + text + data[at + (1 if replaces else 0) :]
    mine, oracle = ours(data, cuts), theirs(data)
    if mine is None:
        return
    if oracle is None:
        # What we read whole before its error, h11 must have read so too.
        assert _agree_before_error(data, mine)
        return
    assert mine == oracle[: len(mine)]


def _agree_before_error(data: bytes, mine: list[Seen]) -> bool:
    """Whether h11 reads the same first requests when it gets no more bytes than they have."""
    return all(seen == other for seen, other in zip(mine, _theirs_until_error(data), strict=False))


def _theirs_until_error(data: bytes) -> list[Seen]:
    """What h11 has read whole from the longest prefix of `data` that it does not refuse."""
    low, high = 0, len(data)
    while low < high:
        middle = (low + high + 1) // 2
        if theirs(data[:middle]) is None:
            high = middle - 1
        else:
            low = middle
    return theirs(data[:low]) or []


@settings(max_examples=500, deadline=None)
@given(data=st.binary(max_size=400), cuts=cuts)
def test_noise_never_raises_anything_else(data: bytes, cuts: list[int]) -> None:
    """Whatever comes is a request, the beginning of one, or refused."""
    ours(data, cuts)
