# ruff: noqa: E501 (a table of requests reads best with one on a line)
"""Framing that two parsers could read in two ways is refused, and the connection with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.services.api.support import echo_app, serving

POST = b"POST /a HTTP/1.1\r\nHost: d\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: d\r\n\r\n"

REFUSED: dict[str, tuple[int, bytes]] = {
    "length and coding": (400, POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "coding and length": (400, POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n"),
    "two lengths": (400, POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    "the same length twice": (400, POST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na"),
    "a list of lengths": (400, POST + b"Content-Length: 1, 1\r\n\r\na"),
    "a negative length": (400, POST + b"Content-Length: -1\r\n\r\n"),
    "a signed length": (400, POST + b"Content-Length: +1\r\n\r\na"),
    "a hexadecimal length": (400, POST + b"Content-Length: 0x1\r\n\r\na"),
    "a length with an underscore": (400, POST + b"Content-Length: 1_0\r\n\r\n0123456789"),
    "an empty length": (400, POST + b"Content-Length: \r\n\r\n"),
    "a length past 64 bits": (400, POST + b"Content-Length: 18446744073709551617\r\n\r\na"),
    "an inner space in a length": (400, POST + b"Content-Length: 1 0\r\n\r\n0123456789"),
    "an unknown coding": (400, POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    "chunked is not last": (400, POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
    "chunked twice": (400, POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "a coding below chunked": (501, POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    "a coding with a vertical tab": (400, POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
    "coding in HTTP/1.0": (400, b"POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "a folded field": (400, POST + b"X: a\r\n b\r\n\r\n"),
    "a folded coding": (400, POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
    "a space before the colon": (400, POST + b"Content-Length : 1\r\n\r\na"),
    "a tab before the colon": (400, POST + b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n"),
    "a space before the name": (400, b"POST /a HTTP/1.1\r\n Host: d\r\n\r\n"),
    "no colon": (400, POST + b"Oops\r\n\r\n"),
    "an empty name": (400, POST + b": x\r\n\r\n"),
    "a NUL in a value": (400, POST + b"X: a\0b\r\n\r\n"),
    "a NUL in a name": (400, POST + b"X\0: a\r\n\r\n"),
    "a bare CR in a value": (400, POST + b"X: a\rContent-Length: 9\r\n\r\n"),
    "bare LF as line ends": (400, b"GET / HTTP/1.1\nHost: d\n\n"),
    "one bare LF": (400, b"POST /a HTTP/1.1\r\nHost: d\nContent-Length: 0\r\n\r\n"),
    "LF ends the head": (400, b"GET / HTTP/1.1\r\nHost: d\r\n\n"),
    "two spaces and a version": (400, b"GET /  HTTP/1.1\r\nHost: d\r\n\r\n"),
    "a space in the target": (400, b"GET /a b HTTP/1.1\r\nHost: d\r\n\r\n"),
    "a control in the target": (400, b"GET /\x07 HTTP/1.1\r\nHost: d\r\n\r\n"),
    "a bad escape": (400, b"GET /%zz HTTP/1.1\r\nHost: d\r\n\r\n"),
    "a relative target": (400, b"GET a HTTP/1.1\r\nHost: d\r\n\r\n"),
    "no version": (400, b"GET /\r\nHost: d\r\n\r\n"),
    "an old version": (505, b"GET / HTTP/0.9\r\nHost: d\r\n\r\n"),
    "a new version": (505, b"GET / HTTP/2.0\r\nHost: d\r\n\r\n"),
    "a version that is none": (400, b"GET / HTTP/1.1x\r\nHost: d\r\n\r\n"),
    "a small method": (400, b"get / HTTP/1.1\r\nHost: d\r\n\r\n"),
    "garbage": (400, b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"),
    "no Host": (400, b"GET / HTTP/1.1\r\n\r\n"),
    "two Hosts": (400, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    "a Host with a space": (400, b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    "an unknown expectation": (417, POST + b"Expect: a-pony\r\n\r\n"),
    "a head past the limit": (431, b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n"),
    "a target past the limit": (431, b"GET /" + b"a" * 70_000),
    "too many fields": (431, b"GET / HTTP/1.1\r\nHost: d\r\n" + b"X: a\r\n" * 300 + b"\r\n"),
}  # fmt: skip

CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
BAD_CHUNKS: dict[str, bytes] = {
    "no size": b"\r\n\r\n",
    "not a number": b"zz\r\nab\r\n0\r\n\r\n",
    "a sign": b"+2\r\nab\r\n0\r\n\r\n",
    "a prefix": b"0x2\r\nab\r\n0\r\n\r\n",
    "an underscore": b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n",
    "a space in front": b" 2\r\nab\r\n0\r\n\r\n",
    "past 60 bits": b"fffffffffffffffff\r\nab\r\n0\r\n\r\n",
    "LF after the size": b"2\nab\r\n0\r\n\r\n",
    "CR in an extension": b"2;a\rb\r\nab\r\n0\r\n\r\n",
    "LF after the data": b"2\r\nab\n0\r\n\r\n",
    "nothing after the data": b"2\r\nab0\r\n\r\n",
    "more data than said": b"2\r\nabc\r\n0\r\n\r\n",
    "an endless extension": b"2;" + b"a" * 5000 + b"\r\nab\r\n0\r\n\r\n",
    "a bad trailer": b"0\r\nX Y: a\r\n\r\n",
    "framing in a trailer": b"0\r\nContent-Length: 5\r\n\r\n",
    "a folded trailer": b"0\r\nX: a\r\n b\r\n\r\n",
    "endless trailers": b"0\r\n" + b"X: aaaaaaaaaaaaaaaa\r\n" * 1200 + b"\r\n",
}


@pytest.mark.parametrize("name", REFUSED)
async def test_ambiguous_heads_are_refused(name: str, tmp_path: Path) -> None:
    """One answer with the status that Go would give, then the close: what follows is not a request."""
    status, data = REFUSED[name]
    async with serving(echo_app, tmp_path) as served:
        answer = await served.ask(data + SMUGGLED)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert answer.count(b"HTTP/1.1 %d" % status) == 1
    assert b"smuggled" not in answer


@pytest.mark.parametrize("name", BAD_CHUNKS)
async def test_malformed_chunks_are_refused(name: str, tmp_path: Path) -> None:
    """A body whose framing breaks is answered 400 and nothing after it is read as a request."""
    async with serving(echo_app, tmp_path) as served:
        answer = await served.ask(CHUNKED + BAD_CHUNKS[name] + SMUGGLED)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"smuggled" not in answer


async def test_what_is_only_unusual_is_served(tmp_path: Path) -> None:
    """Valid but rare forms are understood: strictness must not refuse them."""
    async with serving(echo_app, tmp_path) as served:
        for data, echoed in (
            (b"\r\n\r\nGET /a HTTP/1.1\r\nHost:d\r\n", b"GET /a 0 "),
            (b"GET http://h:1/a?b HTTP/1.1\r\nHost: d\r\n", b"GET /a 0 "),
            (b"GET http://h HTTP/1.1\r\nHost: d\r\n", b"GET / 0 "),
            (b"GET /a%20b HTTP/1.1\r\nHost:\t d \t\r\n", b"GET /a b 0 "),
            (b"GET /a HTTP/1.1\r\nHost:\r\nX:\r\n", b"GET /a 0 "),
            (b"GET /a HTTP/1.1\r\nHost: [::1]:2375\r\n", b"GET /a 0 "),
            (b"GET /a HTTP/1.1\r\nHost: %2Fvar%2Frun%2Fdocker.sock\r\n", b"GET /a 0 "),
            (b"GET /a HTTP/1.0\r\n", b"GET /a 0 "),
        ):
            answer = await served.ask(data + b"Connection: close\r\n\r\n")
            assert answer.endswith(echoed), data
        chunks = b"2;x=y\r\nab\r\n0003 \t\r\ncde\r\n000\r\nX-Sum: 1\r\n\r\n"
        head = CHUNKED.replace(b"Host", b"Connection: close\r\nHost")
        assert (await served.ask(head + chunks)).endswith(b"POST /a 5 abcde")
