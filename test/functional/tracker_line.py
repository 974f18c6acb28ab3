"""A small MogileFS client for the tests, written from the protocol and nothing else.

It shares no code with koboldfs, so that a mistake in our own grammar is seen here.
"""

from __future__ import annotations

import http.client
import socket
from urllib.parse import quote_plus, unquote_plus, urlsplit

#: One command or one HTTP exchange; far above what a healthy cluster takes.
ANSWER_SECONDS = 15.0


class Refused(Exception):
    """The tracker answered ERR."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code


class TrackerLine:
    """One connection to one tracker; it is made again after it broke."""

    def __init__(
        self, address: str, port: int, seconds: float = ANSWER_SECONDS
    ) -> None:
        self.address = address
        self.port = port
        self.seconds = seconds
        self._socket: socket.socket | None = None
        self._buffer = b""

    def __enter__(self) -> TrackerLine:
        """Close at the end of a with statement."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._buffer = None, b""

    def line(self, line: bytes) -> bytes:
        """Send a line and return the line that comes back, without its end.

        Raises OSError when the tracker is not there or does not answer in time.
        """
        try:
            if self._socket is None:
                where = (self.address, self.port)
                self._socket = socket.create_connection(where, self.seconds)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.sendall(line + b"\r\n")
            while b"\r\n" not in self._buffer:
                received = self._socket.recv(65536)
                if not received:
                    raise ConnectionError("the tracker closed the connection")
                self._buffer += received
        except OSError:
            self.close()
            raise
        answer, _, self._buffer = self._buffer.partition(b"\r\n")
        return answer

    def ask(self, command: str, **arguments: object) -> dict[str, str]:
        """Run a command; returns the fields of OK. Raises `Refused` or OSError.

        A name with a final underscore is meant without it (``class_``, ``from_``).
        """
        pairs = "&".join(
            f"{name.rstrip('_')}={quote_plus(_sent(value))}"
            for name, value in arguments.items()
        )
        answer = self.line(f"{command} {pairs}".encode()).decode("ascii")
        status, _, rest = answer.partition(" ")
        if status != "OK":
            code, _, text = rest.partition(" ")
            raise Refused(code, unquote_plus(text))
        fields = (pair.partition("=") for pair in rest.split("&") if pair)
        return {unquote_plus(name): unquote_plus(value) for name, _, value in fields}

    # --- whole files, as a client library does it

    def store(
        self, domain: str, key: str | bytes, content: bytes, **arguments: object
    ) -> None:
        """create_open (with these arguments, too), PUT to the first path that takes
        it, create_close."""
        opened = self.ask(
            "create_open", domain=domain, key=key, multi_dest=1, fid=0, **arguments
        )
        refusal: OSError | None = None
        for number in range(1, int(opened["dev_count"]) + 1):
            path = opened[f"path_{number}"]
            try:
                put(path, content, self.seconds)
            except OSError as error:
                refusal = error
                continue
            self.ask(
                "create_close",
                domain=domain,
                key=key,
                fid=opened["fid"],
                devid=opened[f"devid_{number}"],
                path=path,
                size=len(content),
            )
            return
        raise refusal or OSError("no path was offered")

    def paths(self, domain: str, key: str | bytes, count: int = 9) -> list[str]:
        """The URLs of the file's copies."""
        fields = self.ask(
            "get_paths", domain=domain, key=key, pathcount=count, noverify=1
        )
        return [
            fields[f"path{number}"] for number in range(1, int(fields["paths"]) + 1)
        ]

    def fetch(self, domain: str, key: str | bytes) -> bytes:
        """The file's bytes, from the first copy that can be read."""
        refusal: OSError | None = None
        for path in self.paths(domain, key):
            try:
                return get(path, self.seconds)
            except OSError as error:
                refusal = error
        raise refusal or OSError(f"{key!r} has no path")


def _sent(value: object) -> str | bytes:
    """A key may be any bytes, and then they are sent."""
    return value if isinstance(value, bytes) else str(value)


def _exchange(method: str, url: str, body: bytes | None, seconds: float) -> bytes:
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=seconds)
    try:
        connection.request(method, parts.path, body)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status // 100 != 2:
            raise ConnectionError(f"{method} {url}: {answer.status} {answer.reason}")
        return content
    except http.client.HTTPException as error:
        raise ConnectionError(f"{method} {url}: {error!r}") from error
    finally:
        connection.close()


def put(url: str, content: bytes, seconds: float = ANSWER_SECONDS) -> None:
    """Store bytes at a URL; raises OSError if the node does not take them."""
    _exchange("PUT", url, content, seconds)


def get(url: str, seconds: float = ANSWER_SECONDS) -> bytes:
    """The bytes at a URL; raises OSError if there are none."""
    return _exchange("GET", url, None, seconds)


def remove(url: str, seconds: float = ANSWER_SECONDS) -> None:
    """Have a node remove what is at a URL; raises OSError if it does not."""
    _exchange("DELETE", url, None, seconds)
