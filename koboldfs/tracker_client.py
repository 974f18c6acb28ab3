"""A small synchronous client of the tracker's text protocol, for tools.

    request = command [ " " arguments ] CRLF       arguments: `koboldfs.wire.escaping`
    reply   = "OK " [ number " " ] [ arguments ] CRLF
            / "ERR " code [ " " escaped-text ] CRLF
    admin   = "!" word CRLF  ->  *( text CRLF ) "." CRLF

Standard library only, no Twisted. The client is given several trackers and talks to the
first that answers, on one connection that it keeps. Texts are Latin-1 ``str``: one
character per byte.

Going over to another tracker is safe before a request was sent, and for requests that
change nothing. When a connection is lost after a changing request was sent, nobody
knows whether it was done: that is said (`TrackersAway`), and never tried twice.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType

from koboldfs.errors import CallerError, ConfigError, WorldError
from koboldfs.wire.escaping import format_arguments, parse_arguments, unescape

DEFAULT_PORT = 7001
DEFAULT_TRACKERS = (f"127.0.0.1:{DEFAULT_PORT}",)
#: One request, from sending to its reply (seconds): trackers of MogileFS wait for a
#: round of their monitor before they answer a change, which takes up to 5 s.
REQUEST_SECONDS = 30.0
#: One connection attempt (seconds); the next tracker is tried after it.
CONNECT_SECONDS = 3.0
#: A reply (bytes). The largest, ``get_devices`` of 10,000 devices, has about 3 MB.
MAX_REPLY_BYTES = 16 * 1024 * 1024
#: More trackers than a cluster has; a list that is longer is a mistake.
MAX_TRACKERS = 64
_CHUNK_BYTES = 64 * 1024
_HARMLESS = (
    *("noop", "server_setting", "server_settings", "fsck_status", "fsck_getlog"),
    *("rebalance_status", "scrub_status", "cluster_health"),
)
_HARMLESS_BEGINNINGS = ("!", "get_", "file_", "list_")


class Refused(CallerError):
    """The tracker answered ``ERR``. `word` is its code, the message its text."""

    def __init__(self, word: str, text: str) -> None:
        super().__init__(text or word)
        self.word = word


class TrackersAway(WorldError):
    """No tracker answered, or the answer was lost or made no sense."""

    text = "No tracker answers"


def parse_address(text: str, default_port: int = DEFAULT_PORT) -> tuple[str, int]:
    """Host and port of ``HOST[:PORT]`` or ``[IPv6]:PORT``; raises `ConfigError`."""
    text = text.strip()
    host, colon, port = text, "", ""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        colon, port = rest[:1], rest[1:]
        if not bracket or colon not in ("", ":"):
            host = ""
    elif text.count(":") <= 1:
        host, colon, port = text.partition(":")
    number = port if colon else str(default_port)
    if not host or any(letter.isspace() for letter in host):
        raise ConfigError(f"{text!r} is no server: give HOST:PORT")
    if not (number.isascii() and number.isdigit() and 0 < int(number[:6]) < 65536):
        raise ConfigError(f"{text!r} is no server: the port is a number up to 65535")
    return host, int(number)


def parse_addresses(
    text: str | Sequence[str], default_port: int = DEFAULT_PORT
) -> tuple[str, ...]:
    """The servers in ``HOST:PORT,...`` (or a sequence of them), each with its port.

    Raises `ConfigError` when there is none, or one is not of that form.
    """
    words = text.split(",") if isinstance(text, str) else text
    pairs = [parse_address(word, default_port) for word in words if word.strip()]
    if not pairs:
        raise ConfigError("no server was given: give HOST:PORT, several with commas")
    if len(pairs) > MAX_TRACKERS:
        raise ConfigError(f"that is more than {MAX_TRACKERS} servers")
    return tuple(f"[{h}]:{p}" if ":" in h else f"{h}:{p}" for h, p in pairs)


class TrackerClient:
    """Asks trackers. Not for several threads at once; a context manager.

    `trackers` are ``HOST:PORT`` texts, tried in their order; `timeout` is the time of
    one request in seconds, whatever number of trackers it takes.
    """

    def __init__(
        self,
        trackers: str | Sequence[str] = DEFAULT_TRACKERS,
        timeout: float = REQUEST_SECONDS,
    ) -> None:
        self.trackers = parse_addresses(trackers)
        self.timeout_seconds = timeout
        #: The tracker that we are connected to, or were last; empty before.
        self.address = ""
        self._socket: socket.socket | None = None
        self._received = bytearray()

    def ask(
        self, command: str, arguments: Mapping[str, object] | None = None
    ) -> dict[str, str]:
        """The fields of the reply. Arguments that are None are left out.

        Raises `Refused` for an ``ERR``, `TrackersAway` when no tracker did answer.
        """
        pairs = [(n, v) for n, v in (arguments or {}).items() if v is not None]
        line = f"{command} {format_arguments(pairs)}".rstrip()
        return parse_reply(self._exchange(line, admin=False)[0])

    def lines(self, word: str) -> list[str]:
        """The lines that answer the admin word (``version`` is ``!version``).

        Raises `TrackersAway`.
        """
        return self._exchange(f"!{word}", admin=True)

    def close(self) -> None:
        """Close the connection; the next request makes a new one."""
        connection, self._socket = self._socket, None
        self._received.clear()
        if connection is not None:
            connection.close()

    def __enter__(self) -> TrackerClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # --- one request

    def _exchange(self, line: str, *, admin: bool) -> list[str]:
        """The reply lines; tries every tracker once, the one we have first."""
        deadline = time.monotonic() + self.timeout_seconds
        failures: list[str] = []
        for address in self._order():
            if time.monotonic() >= deadline:
                failures.append("no time left")
                break
            sent = False
            try:
                self._connect(address, deadline)
                sent = True
                return self._talk(line, admin, deadline)
            except OSError as error:
                self.close()
                failures.append(f"{address}: {_reason(error)}")
                if sent and not is_harmless(line):
                    raise TrackersAway(
                        f"the connection to {address} was lost ({_reason(error)}); "
                        "it is not known whether this was done"
                    ) from error
            except BaseException:
                self.close()
                raise
        raise TrackersAway(f"no tracker answers: {'; '.join(failures)}")

    def _order(self) -> list[str]:
        """The trackers; a connection that may have died idle is made anew once."""
        if not self.address:
            return list(self.trackers)
        others = [one for one in self.trackers if one != self.address]
        again = [self.address] if self._socket is not None else []
        return [self.address, *again, *others]

    def _connect(self, address: str, deadline: float) -> None:
        if self._socket is not None and address == self.address:
            if not self._is_stale():
                return
            self.close()
        self.close()
        seconds = max(0.01, min(CONNECT_SECONDS, deadline - time.monotonic()))
        self._socket = socket.create_connection(parse_address(address), seconds)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.address = address

    def _is_stale(self) -> bool:
        """Whether the kept connection was closed, or says what nobody asked for."""
        assert self._socket is not None
        self._socket.setblocking(False)
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return bool(self._received)
        except OSError:
            return True
        return True

    def _talk(self, line: str, admin: bool, deadline: float) -> list[str]:
        assert self._socket is not None
        self._socket.settimeout(max(0.01, deadline - time.monotonic()))
        self._socket.sendall(f"{line}\r\n".encode("latin-1"))
        room = MAX_REPLY_BYTES
        found: list[str] = []
        while True:
            text = self._line(deadline, room)
            room -= len(text) + 1
            text = text.removesuffix("\r")
            if not admin:
                return [text]
            if text == ".":
                return found
            found.append(text)

    def _line(self, deadline: float, room: int) -> str:
        """The next line without its LF. Raises `OSError`."""
        assert self._socket is not None
        looked = 0
        while (end := self._received.find(b"\n", looked)) < 0:
            looked = len(self._received)
            if looked > room:
                raise OSError(f"a reply of more than {MAX_REPLY_BYTES} bytes")
            self._socket.settimeout(max(0.01, deadline - time.monotonic()))
            chunk = self._socket.recv(_CHUNK_BYTES)
            if not chunk:
                raise OSError("the connection was closed")
            if time.monotonic() >= deadline:
                raise TimeoutError("timed out")
            self._received += chunk
        text = self._received[:end].decode("latin-1")
        del self._received[: end + 1]
        return text


def is_harmless(line: str) -> bool:
    """Whether a request changes nothing, so that it may be sent a second time."""
    name = line.split(" ", 1)[0]
    return name in _HARMLESS or name.startswith(_HARMLESS_BEGINNINGS)


def parse_reply(line: str) -> dict[str, str]:
    """The fields of an ``OK`` line.

    Raises `Refused` for an ``ERR`` line, `TrackersAway` for anything else.
    """
    words = line.split(" ")
    if words[0] == "OK":
        rest = [word for word in words[1:] if word]
        if rest and rest[0].isdigit():  # old trackers tell a number first
            rest = rest[1:]
        return parse_arguments(rest[0] if rest else "")
    if words[0] == "ERR" and len(words) > 1:
        raise Refused(words[1], unescape(words[2]) if len(words) > 2 else "")
    raise TrackersAway("the tracker's reply makes no sense: is it a tracker?")


def numbered(
    fields: Mapping[str, str], prefix: str, count: str
) -> Iterable[dict[str, str]]:
    """The rows of a reply such as ``hosts=2&host1_status=..``, by number.

    With prefix ``host`` and count ``hosts``; names come without ``host1_``.
    """
    rows: dict[int, dict[str, str]] = {}
    for name, value in fields.items():
        head, underscore, rest = name.partition("_")
        number = head.removeprefix(prefix)
        if underscore and head != number and number.isdigit() and len(number) < 10:
            rows.setdefault(int(number), {})[rest] = value
    most = fields.get(count, "0")
    return [rows[n] for n in sorted(rows) if most.isdigit() and n <= int(most[:9])]


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return error.strerror or str(error) or type(error).__name__
