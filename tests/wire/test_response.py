"""Responses without a socket: any cut of the bytes gives the same answer, and bytes that are not HTTP are refused."""

from __future__ import annotations

import gzip
import zlib

import pytest

from providerhub import ProtocolError, ProviderConnectionError
from providerhub.http._response import MAX_HEAD, UNPACKED_AT_ONCE, Response

TEXT = b"Hello, world! " * 20
CHUNKED = b"5;x=y\r\nHello\r\n8\r\n, world!\r\n0\r\nX-Sum: 1\r\n\r\n"
RAW = zlib.compressobj(wbits=-15)
DEFLATED = RAW.compress(TEXT) + RAW.flush()


def head(*fields: bytes, start: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"".join(line + b"\r\n" for line in (start, *fields, b""))


def read(raw: bytes, *, size: int = 1, method: str = "POST", eof: bool = False) -> tuple[Response, bytes]:
    """Feed a response in pieces of a size; return it with its body."""
    response, body = Response(method), bytearray()
    for at in range(0, len(raw), size):
        body += response.feed(raw[at : at + size])
        while response.ready:
            body += response.feed()
    if eof:
        response.eof()
    return response, bytes(body)


WHOLE = {
    "length": (head(b"Content-Length: 5") + b"Hello", b"Hello"),
    "length twice": (head(b"Content-Length: 5", b"Content-Length: 5") + b"Hello", b"Hello"),
    "chunked": (head(b"Transfer-Encoding: Chunked") + CHUNKED, b"Hello, world!"),
    "line feeds only": (b"HTTP/1.1 200 OK\nContent-Length: 5\n\nHello", b"Hello"),
    "no reason": (head(b"Content-Length: 5", start=b"HTTP/1.1 200") + b"Hello", b"Hello"),
    "interim": (head(start=b"HTTP/1.1 103 Early") + head(b"Content-Length: 5") + b"Hello", b"Hello"),
    "many interim": (head(start=b"HTTP/1.1 100 Continue") * 3000 + head(b"Content-Length: 5") + b"Hello", b"Hello"),
    "gzip": (head(b"Content-Encoding: gzip", b"Content-Length: %d" % len(gzip.compress(TEXT))) + gzip.compress(TEXT), TEXT),
    "zlib": (head(b"Content-Encoding: deflate", b"Content-Length: %d" % len(zlib.compress(TEXT))) + zlib.compress(TEXT), TEXT),
    "deflate": (head(b"Content-Encoding: deflate", b"Content-Length: %d" % len(DEFLATED)) + DEFLATED, TEXT),
    "empty": (head(b"Content-Length: 0"), b""),
    "204": (head(start=b"HTTP/1.1 204 No Content"), b""),
    "304": (head(b"Content-Length: 9", start=b"HTTP/1.1 304 Not Modified"), b""),
}


@pytest.mark.parametrize("size", [1, 2, 7, 10**6])
@pytest.mark.parametrize("name", WHOLE)
def test_any_cut_gives_the_same_answer(name, size):
    raw, body = WHOLE[name]
    response, found = read(raw, size=size)
    assert (found, response.ended, response.surplus, response.will_close) == (body, True, False, False)


@pytest.mark.parametrize("name", ["length", "chunked", "empty", "204"])
def test_bytes_after_the_end_are_surplus(name):
    raw, body = WHOLE[name]
    response, found = read(raw + b"HTTP", size=10**6)
    assert (found, response.ended, response.surplus) == (body, True, True)


def test_two_parts_of_gzip_are_one_body():
    packed = gzip.compress(b"Hello, ") + gzip.compress(b"world!")
    assert read(head(b"Content-Encoding: gzip", b"Content-Length: %d" % len(packed)) + packed)[1] == b"Hello, world!"


def test_a_packed_body_is_unpacked_a_part_at_once():
    packed = gzip.compress(bytes(10 * UNPACKED_AT_ONCE))
    response = Response()
    response.feed(head(b"Content-Encoding: gzip", b"Content-Length: %d" % len(packed)) + packed)
    sizes = []
    while response.ready:
        sizes.append(len(response.feed()))
    assert (sum(sizes), max(sizes), response.ended) == (10 * UNPACKED_AT_ONCE, UNPACKED_AT_ONCE, True)


@pytest.mark.parametrize(
    ("fields", "start", "closes"),
    [
        ((), b"HTTP/1.1 200 OK", True),
        ((b"Content-Length: 1", b"Connection: Close"), b"HTTP/1.1 200 OK", True),
        ((b"Content-Length: 1", b"Transfer-Encoding: chunked"), b"HTTP/1.1 200 OK", True),
        ((b"Content-Length: 1",), b"HTTP/1.0 200 OK", True),
        ((b"Content-Length: 1", b"Connection: keep-alive"), b"HTTP/1.0 200 OK", False),
        ((b"Content-Length: 1", b"Transfer-Encoding: identity"), b"HTTP/1.1 200 OK", False),
        ((b"Upgrade: x",), b"HTTP/1.1 101 Switching Protocols", True),
    ],
)
def test_whether_the_connection_can_be_used_again(fields, start, closes):
    assert read(head(*fields, start=start))[0].will_close is closes


def test_a_body_without_a_length_ends_with_the_connection():
    response, body = read(head() + b"Hello", eof=True)
    assert (body, response.ended) == (b"Hello", True)


def test_the_answer_to_head_has_no_body():
    assert read(head(b"Content-Length: 5"), method="HEAD")[0].ended


def test_headers_are_joined_and_folded_lines_go_on():
    headers = read(head(b"X-A: 1", b"x-a:2", b"X-B: a", b"  b", b"Content-Length: 0"))[0].headers
    assert (headers["x-A"], headers.get("X-B"), headers.get("none", "?"), len(headers)) == ("1, 2", "a b", "?", 3)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"SSH-2.0-OpenSSH\r\n", "does not speak HTTP"),
        (b"\x15\x03", "does not speak HTTP"),
        (head(start=b"HTTP/2 200 OK"), "does not speak HTTP"),
        (head(start=b"HTTP/1.1 2000 OK"), "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HEAD, "does not speak HTTP"),
        (head(b"no field"), "a line of its head is not a field"),
        (head(b"X : 1"), "a line of its head is not a field"),
        (head(b"X: \0"), "a line of its head is not a field"),
        (head(b" folded"), "a line of its head is not a field"),
        (head(b"Transfer-Encoding: gzip, chunked"), "transfer coding 'gzip, chunked'"),
        (head(b"Content-Length: -1"), "the length '-1'"),
        (head(b"Content-Length: 1", b"Content-Length: 2"), "the length '1, 2'"),
        (head(b"Content-Encoding: br", b"Content-Length: 1") + b"?", "the Content-Encoding 'br'.* send plain answers or gzip"),
        (head(b"Content-Encoding: gzip", b"Content-Length: 4") + b"data", "cannot be unpacked"),
        (head(b"Transfer-Encoding: chunked") + b"1\r\nab\r\n", "is followed by b'b"),
        (head(b"Transfer-Encoding: chunked") + b"0\r\n" + b"X: y\r\n" * 20_000, "the trailer is longer than 65536 bytes"),
    ],
)
def test_a_response_that_is_broken_is_refused(raw, words):
    with pytest.raises(ProtocolError, match=words):
        read(raw, size=4096)


@pytest.mark.parametrize("digits", [30, 4000, 5000])
def test_a_huge_content_length_is_a_cut_answer(digits):
    with pytest.raises(ProtocolError, match="ended before"):
        read(head(b"Content-Length: " + b"9" * digits) + b"{}", eof=True)


@pytest.mark.parametrize("raw", [b"", b"HTT", b"HTTP/1.1 200 OK\r\nX: y"])
def test_a_connection_that_ends_before_the_headers_is_no_answer(raw):
    with pytest.raises(ProviderConnectionError, match="ended before an answer came"):
        read(raw, eof=True)


def test_the_chunks_before_a_broken_one_come_first():
    response = Response()
    response.feed(head(b"Transfer-Encoding: chunked"))
    assert response.feed(b"5\r\nHello\r\nx\r\n") == b"Hello"
    assert response.ready
    with pytest.raises(ProtocolError, match="has the size"):
        response.feed()
