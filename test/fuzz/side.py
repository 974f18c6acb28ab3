"""The side channel of a storage node: its lines, a node's end, and a tracker's end."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from koboldfs.client.sidechannel import SideChannel as ClientChannel
from koboldfs.errors import NodeFault
from koboldfs.model.fid import uri
from koboldfs.storage.pull import NoPeers, Puller
from koboldfs.storage.sidechannel import SideChannel, SideChannelFactory
from koboldfs.wire.sidechannel import (
    MAX_LINE_BYTES,
    SyntaxFault,
    parse_checksum,
    parse_reply,
    parse_request,
)
from test.fakes.storage_node import DOCROOT, FakeNode, Wire, lose
from test.fuzz.mutation import Source
from test.fuzz.target import READ_BYTES, Target, blocks, pieces, want, want_same
from test.fuzz.worlds import Lasting
from test.unit.client.network import Network

_URI = uri(1, 7).encode()
_SHA256 = b"SHA-256:" + b"0a" * 32
SERVER_SAMPLES = (
    b"size " + _URI + b"\r\n",
    b"MD5 " + _URI + b" fsck\nSHA-1 " + _URI + b"\n",
    b"size /dev1/usage\nsize /dev1/0/000/\nsize /dev1/test-write/test-write-1\n",
    b"watch\r\n",
    b"kobold 1 hello\r\nkobold 2 usage\n",
    b"kobold 3 stat devid=1&fid=7\n",
    b"kobold 4 stats devid=1&fids=7,8,9\r\n",
    b"kobold 5 digest devid=1&fid=7&type=SHA-256\n",
    b"kobold 6 pull devid=1&fid=8&size=4&host=h&fromdevid=2&checksum="
    + _SHA256
    + b"\n",
    b"kobold 7 delete devid=1&fid=7\n",
    b"kobold 8 digests devid=1&fids=7,8&type=SHA-256\n",
    b"kobold 9 setaside devid=1&fid=7&reason=bad&older=9&unless=" + _SHA256 + b"\n",
    b"kobold 10 list devid=1&folder=0&after=0\n",
    b"nonsense\n\n",
)
SERVER_WORDS = (
    b"\n",
    b"\r\n",
    b"kobold ",
    b"kobold 1 ",
    b"&",
    b"=",
    b"%0d%0a",
    b"+",
    b"fid=",
    b"..",
    b"devid=1",
    b"devid=999999999",
    b"fids=",
    b",",
    b"7",
    b"9999999999999999999",
    b" fsck",
    b"MD5 ",
    b"SHA-1 ",
    b"size ",
    b"watch\n",
    b"\x00",
    b"\xff",
    b"type=MD5",
    b"\xb2",
    _URI,
    b"/dev1/",
    b"http://a",
    b"-1",
    b"checksum=SHA-256:",
    b"host=%00",
)
CLIENT_SAMPLES = (
    b"kobold 1 OK size=5&checksum=" + _SHA256 + b"\r\n",
    b"kobold 2 OK sizes=5,-1&checksums=,\nkobold 1 OK\n",
    b"kobold 1 ERR no_device dev1+is+not+here\r\nkobold 2 ERR failure x\r\n",
    b"kobold 2 OK a=%41+b&a=2\n",
)
CLIENT_WORDS = (
    b"\n",
    b"\r\n",
    b"kobold ",
    b" OK ",
    b" ERR ",
    b"1",
    b"2",
    b"3",
    b"0",
    b"&",
    b"=",
    b"%",
    b"+",
    b" ",
    b"\x00",
    b"\xff",
    b"\xb2",
    b"999999999999",
)


def run_lines(data: bytes) -> None:
    """Requests, replies and checksums; what was understood is said the same way."""
    for line in data.split(b"\n"):
        try:
            request = parse_request(line)
            want(parse_request(request.line()) == request, "a request said again")
        except SyntaxFault:
            pass
        try:
            reply = parse_reply(line)
            again = reply.line()
            want(b"\n" not in again and b"\r" not in again, "a reply is not one line")
            if reply.code is None:
                want(parse_reply(again) == reply, "a reply said again")
        except SyntaxFault:
            pass
        try:
            text = line.decode("latin-1")
            want(str(parse_checksum(text)).lower() == text.lower(), "a checksum")
        except SyntaxFault:
            pass


class Node:
    """A node with one file, that input after input is given to."""

    def __init__(self) -> None:
        self.node = FakeNode()
        self.node.memory.put(f"{DOCROOT}{uri(1, 7)}", b"data")
        self._bring_back = self.node.memory.remember()
        self._timers = len(self.node.clock.getDelayedCalls())
        copies = self.node.copies
        puller = Puller(copies, None, NoPeers())  # type: ignore[arg-type]
        self.factory = SideChannelFactory(self.node.clock, copies, puller)

    def connect(self) -> tuple[SideChannel, Wire]:
        """A tracker's connection."""
        channel, wire = self.factory.buildProtocol(None), Wire()
        assert channel is not None
        channel.makeConnection(wire)  # type: ignore[arg-type]
        return channel, wire

    def talk(self, parts: list[bytes]) -> tuple[bytes, bool, object]:
        """What a connection is told, whether it was cut, and the files then."""
        self._bring_back()
        channel, wire = self.connect()
        for part in parts:
            if wire.disconnecting:
                break
            want(wire.reading, "a client is paused and never resumed")
            channel.dataReceived(part)
            kept = len(channel._buffer)
            # A line that is too long ends the connection, and its bytes go with that.
            limit = MAX_LINE_BYTES + (READ_BYTES if wire.disconnecting else 0)
            want(kept <= limit, "too much is kept of a line")
            want(len(channel._lines) <= READ_BYTES, "too many lines wait")
        answer, aborted = wire.value(), wire.aborted
        lose(channel)
        self._left_nothing()
        return answer, aborted, self.node.files()

    def _left_nothing(self) -> None:
        self.node.clock.advance(1)
        load, clock = self.factory.load, self.node.clock
        want(load.requests == 0, "a request is not ended")
        want(load.connections == 0, "a connection is not forgotten")
        want(self.node.memory.open_count == 0, "a descriptor is left open")
        want(len(clock.getDelayedCalls()) == self._timers, "a timer is left")
        fresh, wire = self.connect()
        fresh.dataReceived(b"size /dev1/usage\n")
        want(wire.value().startswith(b"/dev1/usage "), "a new connection is unheard")
        lose(fresh)


class Nodes:
    """Two, whose clocks go alike."""

    def __init__(self) -> None:
        self.one, self.other = Node(), Node()


NODES = Lasting(Nodes)


def run_server(data: bytes) -> None:
    """A connection to a node with one file."""
    NODES.given(
        lambda nodes: want_same(
            nodes.one.talk(blocks(data)), nodes.other.talk(pieces(data))
        )
    )


def run_client(data: bytes) -> None:
    """What a node says to two requests."""
    want_same(_client(blocks(data)), _client(pieces(data)))


def _client(parts: list[bytes]) -> list[object]:
    network = Network()
    channel = ClientChannel(network.reactor, "10.0.0.1", 7501)
    outcomes: list[object] = [None, None]

    def tell(number: int, result: object) -> None:
        want(outcomes[number] is None, "a request is answered twice")
        outcomes[number] = result

    def ask(number: int) -> Deferred[dict[str, str]]:
        asked = channel.call("stat", {"devid": 1, "fid": number + 1}, 5.0)
        asked.addCallback(lambda fields: tell(number, fields))
        asked.addErrback(lambda failure: tell(number, _declared(failure.value)))
        return asked

    ask(0), ask(1)
    wire = network.accept()
    network.turn()
    for part in parts:
        wire.feed(part)
        if wire.disconnecting:
            break
        kept = 0 if channel._lines is None else len(channel._lines._buffer)
        want(kept <= MAX_LINE_BYTES, "too much is kept of a line")
    wire.lose()
    network.turn()
    want(None not in outcomes, "a request is not answered")
    channel.eager()
    outcomes.append(None)
    ask(2)
    wire = network.accept()
    network.turn()
    wire.feed(b"kobold 3 OK size=5\r\n")
    want(outcomes[2] == {"size": "5"}, "a new connection is of no use")
    want(not channel._waiting, "a request is not forgotten")
    return outcomes


def _declared(error: Exception) -> object:
    if not isinstance(error, NodeFault):
        raise error
    return type(error), getattr(error, "refusal", None)


_LINES = Source(SERVER_SAMPLES + CLIENT_SAMPLES, SERVER_WORDS + CLIENT_WORDS)
LINES = Target("side-lines", run_lines, _LINES, 4000)
SERVER = Target("side-server", run_server, Source(SERVER_SAMPLES, SERVER_WORDS), 600)
CLIENT = Target("side-client", run_client, Source(CLIENT_SAMPLES, CLIENT_WORDS), 800)
