"""The head of an answer: framing by what is known of the body, and by whom it is for."""

from __future__ import annotations

import pytest

from services.api.http.answer_head import AnswerHead, answer_head, hijack_head
from services.api.http.head import parse_head


def head(
    status: int = 200,
    *fields: tuple[bytes, bytes],
    asked: bytes = b"GET / HTTP/1.1\r\nHost: x",
    whole_bytes: int | None = None,
    keep_alive: bool = True,
) -> AnswerHead:
    start = {"type": "http.response.start", "status": status, "headers": fields}
    request = parse_head(asked + b"\r\n\r\n")
    return answer_head(start, request, whole_bytes=whole_bytes, keep_alive=keep_alive)


OLD = b"GET / HTTP/1.0"


@pytest.mark.parametrize(
    ("answer", "framing", "length_bytes", "chunked", "keep_alive"),
    [
        (head(whole_bytes=3), b"Content-Length: 3", 3, False, True),
        (head(), b"Transfer-Encoding: chunked", None, True, True),
        (head(200, (b"Content-Length", b"7")), b"Content-Length: 7", 7, False, True),
        (head(asked=OLD), b"Connection: close", None, False, False),
        (head(asked=OLD, whole_bytes=3), b"Connection: keep-alive", 3, False, True),
        (head(whole_bytes=3, keep_alive=False), b"Connection: close", 3, False, False),
        (
            head(asked=b"HEAD / HTTP/1.1\r\nHost: x"),
            b"Transfer-Encoding: chunked", None, False, True,
        ),
    ],
)  # fmt: skip
def test_framing(
    answer: AnswerHead,
    framing: bytes,
    length_bytes: int | None,
    chunked: bool,
    keep_alive: bool,
) -> None:
    """Whole answers say their length, others come in chunks, or up to the close."""
    assert framing in answer.data.split(b"\r\n")
    assert answer.data.endswith(b"\r\n\r\n")
    assert answer[1:] == (length_bytes, chunked, keep_alive)


@pytest.mark.parametrize("status", [204, 304])
def test_what_has_no_body_says_nothing_of_one(status: int) -> None:
    """Neither its length nor its type, whatever the app says."""
    fields = ((b"Content-Length", b"3"), (b"Content-Type", b"text/plain"), (b"X", b"y"))
    answer = head(status, *fields, whole_bytes=0)
    assert b"Content-" not in answer.data
    assert b"Transfer-Encoding" not in answer.data
    assert b"X: y\r\n" in answer.data
    assert answer.keep_alive


def test_an_app_cannot_choose_the_framing() -> None:
    """Its own are passed over."""
    own = ((b"Transfer-Encoding", b"identity"), (b"Connection", b"upgrade"))
    answer = head(200, *own, whole_bytes=1)
    assert b"identity" not in answer.data
    assert b"upgrade" not in answer.data


def test_a_status_that_has_no_name_gets_a_line() -> None:
    """And a hijack's head is what it was given, no more."""
    assert head(299, whole_bytes=0).data.startswith(b"HTTP/1.1 299 Status\r\n")
    assert hijack_head(b"HTTP/1.1 101 UPGRADED\r\n", [(b"A", b"b")]) == (
        b"HTTP/1.1 101 UPGRADED\r\nA: b\r\n\r\n"
    )
