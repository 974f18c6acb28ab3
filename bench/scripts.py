"""What clients do: the MogileFS protocol and HTTP, as few bytes as they need."""

from __future__ import annotations

import random
from collections.abc import Sequence

from bench.exchange import DONE, Address, Ask, Script

DOMAIN = "demo"
BODY = bytes(random.Random(1).randbytes(1024))


class Unexpected(Exception):
    """An answer that a measurement must not count."""


def fields(answer: bytes) -> dict[bytes, bytes]:
    """The fields of an OK; paths and numbers need no unescaping."""
    if not answer.startswith(b"OK "):
        raise Unexpected(answer[:200])
    pairs = answer[3:-2].split(b"&")
    return dict(pair.split(b"=", 1) for pair in pairs if pair)  # type: ignore[misc]


def place(url: bytes) -> tuple[Address, bytes]:
    """Address and path of a URL that a tracker gave out."""
    host, _, path = url[len(b"http://") :].partition(b"/")
    name, _, port = host.partition(b":")
    return (name.decode(), int(port)), b"/" + path


def good(answer: bytes) -> bytes:
    """The answer of HTTP if it is a 2xx."""
    if answer[9:10] != b"2":
        raise Unexpected(answer[:200])
    return answer


def put_request(path: bytes, body: bytes) -> bytes:
    """A PUT with a kept connection."""
    head = b"PUT %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    return head % (path, len(body)) + body


def get_request(path: bytes) -> bytes:
    """A GET with a kept connection."""
    return b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path


def echo(address: Address, line: bytes = b"noop\r\n") -> Script:
    """The same line for ever."""
    ask = Ask(address, line)
    while True:
        yield ask
        yield DONE


def put_files(tracker: Address, keys: Sequence[str], body: bytes = BODY) -> Script:
    """create_open, PUT, create_close for each key."""
    domain = DOMAIN.encode()
    for key in keys:
        name = key.encode()
        line = b"create_open domain=%b&key=%b&fid=0\r\n" % (domain, name)
        opened = fields((yield Ask(tracker, line)))
        url = opened[b"path"]
        address, path = place(url)
        good((yield Ask(address, put_request(path, body), http=True)))
        line = b"create_close domain=%b&key=%b&fid=%b&devid=%b&size=%d&path=%b\r\n" % (
            domain,
            name,
            opened[b"fid"],
            opened[b"devid"],
            len(body),
            url,
        )
        fields((yield Ask(tracker, line)))
        yield DONE


def get_paths(tracker: Address, keys: Sequence[str], chance: random.Random) -> Script:
    """get_paths of random keys."""
    asks = [Ask(tracker, _paths_line(key)) for key in keys]
    while True:
        fields((yield chance.choice(asks)))
        yield DONE


def get_paths_ahead(
    tracker: Address, keys: Sequence[str], chance: random.Random, count: int
) -> Script:
    """`count` requests for paths are sent at once; a unit is all their answers."""
    lines = [_paths_line(key) for key in keys]
    while True:
        request = b"".join(chance.choices(lines, k=count))
        for answer in (yield Ask(tracker, request, lines=count)).splitlines(True):
            fields(answer)
        yield DONE


def get_files(
    tracker: Address, keys: Sequence[str], chance: random.Random, body: bytes = BODY
) -> Script:
    """get_paths and GET of random keys; the bytes are compared."""
    while True:
        found = fields((yield Ask(tracker, _paths_line(chance.choice(keys)))))
        address, path = place(found[b"path1"])
        answer = good((yield Ask(address, get_request(path), http=True)))
        if not answer.endswith(body):
            raise Unexpected(b"other bytes than were stored")
        yield DONE


def _paths_line(key: str) -> bytes:
    return f"get_paths domain={DOMAIN}&key={key}&noverify=1\r\n".encode()


def delete_files(tracker: Address, keys: Sequence[str]) -> Script:
    """delete of each key."""
    for key in keys:
        fields((yield Ask(tracker, f"delete domain={DOMAIN}&key={key}\r\n".encode())))
        yield DONE


def list_keys(tracker: Address, prefix: str, count: int) -> Script:
    """list_keys of `count` keys, again and again; a unit is one list."""
    line = f"list_keys domain={DOMAIN}&prefix={prefix}&limit={count}\r\n".encode()
    ask = Ask(tracker, line)
    while True:
        listed = fields((yield ask))
        if int(listed[b"key_count"]) != count:
            raise Unexpected(b"not all keys were listed")
        yield DONE


def http_get(address: Address, path: str) -> Script:
    """The same GET for ever."""
    ask = Ask(address, get_request(path.encode()), http=True)
    while True:
        good((yield ask))
        yield DONE


def http_put(address: Address, paths: Sequence[str], body: bytes = BODY) -> Script:
    """A PUT to each path."""
    for path in paths:
        good((yield Ask(address, put_request(path.encode(), body), http=True)))
        yield DONE
