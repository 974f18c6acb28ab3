"""Storage nodes that listen on 127.0.0.1 and keep their files in a dictionary.

`ForeignNode` speaks HTTP and MKCOL, as any WebDAV server does; `OursNode` also says
that it is ours and has a side channel (a stand-in for `koboldfs.storage`, so that
tests of clients do not need a disk).
"""

from __future__ import annotations

import hashlib
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred, succeed
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineOnlyReceiver
from twisted.protocols.policies import WrappingFactory
from twisted.web.resource import Resource
from twisted.web.server import Site

from koboldfs.model.entities import HASH_TYPES, Host, Place
from koboldfs.model.fid import uri
from koboldfs.wire.sidechannel import (
    Reply,
    Request,
    SyntaxFault,
    parse_checksum,
    parse_request,
)
from test.fakes.nodes import own_checksum


class Files(Resource):
    """A folder tree in memory, for GET, HEAD, PUT, DELETE, MKCOL and ranges."""

    isLeaf = True

    def __init__(self, devids: tuple[int, ...]) -> None:
        super().__init__()
        self.files: dict[str, bytes] = {}
        self.folders: set[str] = {f"/dev{devid}/" for devid in devids}
        for devid in devids:
            self.files[f"/dev{devid}/usage"] = b"total: 1000000\nused: 1000\nx\n"
        self.makes_folders = False
        self.mkcol_status = 201
        self.put_status: int | None = None
        self.ignores_ranges = False
        self.spoils = False
        self.log: list[str] = []

    def render(self, request: Any) -> bytes:
        """Any method."""
        path = request.path.decode("latin-1")
        self.log.append(f"{request.method.decode('latin-1')} {path}")
        method = getattr(self, f"do_{request.method.decode('latin-1')}", None)
        if method is None:
            request.setResponseCode(405)
            return b""
        body: bytes = method(request, path)
        return body

    def do_GET(self, request: Any, path: str) -> bytes:
        """A file, or a range of it."""
        data = self.files.get(path)
        if data is None:
            request.setResponseCode(404)
            return b"not here"
        wanted = request.getHeader(b"range")
        if wanted is not None and not self.ignores_ranges:
            first, _, last = wanted.removeprefix(b"bytes=").partition(b"-")
            start = int(first)
            stop = min(len(data), int(last) + 1) if last else len(data)
            if start >= len(data):
                request.setResponseCode(416)
                return b""
            request.setResponseCode(206)
            span = f"bytes {start}-{stop - 1}/{len(data)}"
            request.setHeader(b"content-range", span.encode())
            data = data[start:stop]
        return data

    def do_HEAD(self, request: Any, path: str) -> bytes:
        """The size of a file."""
        data = self.do_GET(request, path)
        request.setHeader(b"content-length", b"%d" % len(data))
        return data

    def do_PUT(self, request: Any, path: str) -> bytes:
        """Store a file; its folder must be there."""
        body = request.content.read()
        folder = path.rpartition("/")[0] + "/"
        if self.put_status is not None:
            request.setResponseCode(self.put_status)
        elif folder not in self.folders and not self.makes_folders:
            request.setResponseCode(409)
        else:
            if self.spoils:
                body = body[:-1]
            self.files[path] = body
            request.setResponseCode(201)
        return b""

    def do_DELETE(self, request: Any, path: str) -> bytes:
        """Remove a file."""
        found = self.files.pop(path, None)
        request.setResponseCode(404 if found is None else 204)
        return b""

    def do_MKCOL(self, request: Any, path: str) -> bytes:
        """Make a folder in one that is there."""
        above = path.rstrip("/").rpartition("/")[0] + "/"
        if self.mkcol_status == 201 and above not in self.folders:
            request.setResponseCode(409)
        else:
            request.setResponseCode(self.mkcol_status)
            if self.mkcol_status == 201:
                self.folders.add(path)
        return b""


class ForeignNode:
    """A host with a plain WebDAV server."""

    def __init__(self, reactor: Any, hostid: int, devids: tuple[int, ...]) -> None:
        self.reactor = reactor
        self.hostid = hostid
        self.devids = devids
        self.files = Files(devids)
        self.http: Any = None
        self.port = 0

    def start(self) -> None:
        """Listen on a free port."""
        site = Site(self.files, reactor=self.reactor)
        site.noisy = False
        self.connections = WrappingFactory(site)
        self.connections.noisy = False
        self.http = self.reactor.listenTCP(0, self.connections, interface="127.0.0.1")
        self.port = self.http.getHost().port

    @property
    def host(self) -> Host:
        """The host, as the database would have it."""
        name = f"host{self.hostid}"
        return Host(self.hostid, name, "alive", "127.0.0.1", self.port)

    def place(self, index: int = 0) -> Place:
        """One of its devices."""
        return Place(self.host, self.devids[index])

    def plant(self, place: Place, fid: int, data: bytes) -> None:
        """Put a copy on the disk behind the node's back."""
        self.files.files[uri(place.devid, fid)] = data

    def found(self, place: Place, fid: int) -> bytes | None:
        """What is on the disk."""
        return self.files.files.get(uri(place.devid, fid))

    def drop_connections(self) -> None:
        """Close all connections, as a server does with idle ones."""
        for connection in list(self.connections.protocols):
            connection.abortConnection()

    def stop(self) -> Deferred[Any]:
        """Listen no more and close all connections."""
        self.drop_connections()
        http, self.http = self.http, None
        return succeed(None) if http is None else maybeDeferred(http.stopListening)


class OursNode(ForeignNode):
    """A host that says it is ours; `nodes` fetches for pulls from `others`."""

    def __init__(self, reactor: Any, hostid: int, devids: tuple[int, ...]) -> None:
        super().__init__(reactor, hostid, devids)
        self.files.makes_folders = True
        self.sidechannel: Any = None
        self.others: dict[str, ForeignNode] = {}
        self.lines: list[Any] = []
        self.verbs: list[str] = []
        self.silent: set[str] = set()

    def start(self) -> None:
        """Listen on two free ports."""
        super().start()
        factory = Factory.forProtocol(_SideChannel)
        factory.node = self  # type: ignore[attr-defined]
        self.sidechannel = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        port = self.sidechannel.getHost().port
        for devid in self.devids:
            text = f"kobold: 1\nsidechannel: {port}\ntotal: 1000000\nused: 1000\n"
            self.files.files[f"/dev{devid}/usage"] = text.encode()

    def stop(self) -> Deferred[Any]:
        """Listen no more and close all connections."""
        for lines in self.lines:
            lines.transport.abortConnection()
        port, self.sidechannel = self.sidechannel, None
        stopping = [super().stop()]
        if port is not None:
            stopping.append(maybeDeferred(port.stopListening))
        return gatherResults(stopping)

    def reply(self, request: Request) -> Reply:
        """What the node says to a request."""
        arguments, number = request.arguments, request.number
        self.verbs.append(request.verb)
        if request.verb == "usage":
            return Reply(number, self.usage())
        if request.verb == "stats":
            return self._stats(request)
        path = uri(int(arguments["devid"]), int(arguments["fid"]))
        data = self.files.files.get(path)
        if request.verb == "delete":
            self.files.files.pop(path, None)
            return Reply(number)
        if request.verb == "stat":
            if data is None:
                return Reply(number, {"size": "-1"})
            fields = {"size": str(len(data)), "checksum": str(own_checksum(data))}
            return Reply(number, fields)
        if request.verb == "digest":
            if data is None:
                return Reply(number, {"missing": "1"})
            name = arguments["type"]
            assert name in HASH_TYPES
            digest = hashlib.new(name.lower().replace("-", ""), data)
            if name == "SHA-256":
                digest = hashlib.sha256(data)
            return Reply(number, {"checksum": f"{name}:{digest.hexdigest()}"})
        return self._pull(request, path)

    def _stats(self, request: Request) -> Reply:
        devid = int(request.arguments["devid"])
        fids = request.arguments["fids"].split(",")
        found = [self.files.files.get(uri(devid, int(fid))) for fid in fids]
        sizes = ",".join("-1" if one is None else str(len(one)) for one in found)
        sums = ",".join("" if one is None else str(own_checksum(one)) for one in found)
        return Reply(request.number, {"sizes": sizes, "checksums": sums})

    def usage(self) -> dict[str, str]:
        """The fields of a usage reply."""
        fields = {"devices": str(len(self.devids))}
        for index, devid in enumerate(self.devids, 1):
            fields[f"dev{index}_devid"] = str(devid)
            fields[f"dev{index}_observed"] = "writeable"
            fields[f"dev{index}_kib_total"] = "1000000"
            fields[f"dev{index}_kib_used"] = "1000"
            fields[f"dev{index}_utilization"] = "1.50"
        return fields

    def _pull(self, request: Request, path: str) -> Reply:
        number, arguments = request.number, request.arguments
        other = self.others.get(arguments["host"])
        if other is None:
            return Reply(number, {}, "unknown_host", "who is that?")
        if other.http is None:
            return Reply(number, {}, "source_unreachable", "no connection")
        source = uri(int(arguments["fromdevid"]), int(arguments["fid"]))
        data = other.files.files.get(source)
        if data is None:
            return Reply(number, {}, "source_missing", "404")
        checksum = own_checksum(data)
        if len(data) != int(arguments["size"]) or (
            "checksum" in arguments
            and parse_checksum(arguments["checksum"]) != checksum
        ):
            return Reply(number, {}, "source_corrupt", "other bytes")
        self.files.files[path] = data
        return Reply(number, {"checksum": str(checksum)})


class _SideChannel(LineOnlyReceiver):
    delimiter = b"\n"

    def connectionMade(self) -> None:
        self.node: OursNode = self.factory.node
        self.node.lines.append(self)

    def lineReceived(self, line: bytes) -> None:
        try:
            request = parse_request(line.rstrip(b"\r"))
        except SyntaxFault:
            self.sendLine(b"ERROR: unknown command\r")
            return
        if request.verb in self.node.silent:
            return
        self.sendLine(self.node.reply(request).line() + b"\r")
