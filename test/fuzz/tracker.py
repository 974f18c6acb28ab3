"""The tracker's text protocol: its lines by themselves, and a whole front door."""

from __future__ import annotations

import re

from koboldfs.model.entities import Domain, StorageClass, Topology
from koboldfs.tracker.lines import LineBuffer
from koboldfs.tracker.protocol import (
    MAX_WAITING_BYTES,
    MAX_WAITING_REQUESTS,
    REPLY_SECONDS,
)
from koboldfs.wire.tracker import (
    CALLID,
    MAX_LINE_BYTES,
    AdminLine,
    Command,
    format_error,
    format_lines,
    format_ok,
    parse_line,
)
from test.fakes.city import City
from test.fuzz.mutation import Source
from test.fuzz.target import READ_BYTES, Target, blocks, pieces, want, want_same

#: Longer than a command may sleep; and more turns than a door may need.
LONG_SECONDS = 3600.0
TURNS = 300

SAMPLES = (
    b"noop\r\n",
    b"NOOP callid=17\n",
    b"create_open domain=d&class=c&key=some%2Fkey&multi_dest=1&size=12\r\n",
    (
        b"create_close domain=d&key=k&fid=1&devid=1&path=http://127.0.0.1:7500/dev1/"
        b"0/000/000/0000000001.fid&size=3&checksum=MD5:9001509\n"
    ),
    b"get_paths domain=d&key=k&noverify=1&pathcount=2&zone=alt\r\n",
    b"file_info domain=d&key=k\nfile_debug fid=1\n",
    b"list_keys domain=d&prefix=a+b&after=a%20&limit=10\r\n",
    b"list_fids from=1&to=100\n",
    b"delete domain=d&key=k\r\nrename domain=d&from_key=k&to_key=l\r\n",
    b"create_domain domain=new\r\ncreate_class domain=new&class=c&mindevcount=2\r\n",
    b"update_class domain=d&class=c&mindevcount=3&replpolicy=MultipleHosts(3)\n",
    b"get_domains\nget_hosts host=h\nget_devices devid=1\n",
    b"create_host host=h&ip=127.0.0.1&port=7500&status=alive\r\n",
    b"create_device devid=1&hostid=1&state=alive\nset_weight host=h&weight=5\n",
    b"set_state host=h&device=1&state=down\r\n",
    b"set_server_setting key=memcache_servers&value=\nserver_settings\n",
    b"fsck_start\nfsck_status\nfsck_reset startpos=5\nfsck_getlog lastlogid=1\n",
    b"rebalance_set_policy policy=from_devices%3D1+to_devices%3D2\nrebalance_status\n",
    b"replicate_now\nsleep duration=1\nupdateclass domain=d&key=k&class=c\n",
    b"!version\r\n!jobs\r\n!stats\r\n",
    b"!want 2 replicate\n!to replicate :hello\n!recent\n!queue\n!help\n",
    b"\n\r\n  \nno_such_command 0&a=1&a=2&&=&b\n",
)
WORDS = (
    b"\n",
    b"\r\n",
    b"\r",
    b"&",
    b"=",
    b"%",
    b"%00",
    b"%0a",
    b"+",
    b"!",
    b" ",
    b"\t",
    b"domain=d",
    b"key=k",
    b"callid=1",
    b"fid=",
    b"size=",
    b"0",
    b"-1",
    b"d&",
    b"class=c",
    b"!watch\n",
    b"!shutdown\n",
    b"!to ",
    b"\xff",
    b"\x00",
    b"noop\n",
    b"&callid=%ff",
)

#: The time of day in a reply: it goes on while a client is made to wait.
_NOW = re.compile(rb"=1[0-9]{9}\b")


def run_lines(data: bytes) -> None:
    """Bytes to lines to requests, and replies made of what was in them."""
    want_same(_lines(blocks(data)), _lines(pieces(data)))


def _lines(parts: list[bytes]) -> list[AdminLine | Command | None | str]:
    buffer = LineBuffer()
    found: list[AdminLine | Command | None | str] = []
    for part in parts:
        for line in buffer.feed(part):
            if line is None:
                found.append("too long")
                continue
            want(len(line) <= MAX_LINE_BYTES + 1, "a line is too long")
            request = parse_line(line)
            found.append(request)
            _reply(request)
        want(len(buffer) <= MAX_LINE_BYTES + 1, "too much is kept of a line")
    return found


def _reply(request: AdminLine | Command | None) -> None:
    """What a request says can be said back, and stays on its line."""
    if isinstance(request, AdminLine):
        want(request.word, "an admin line without a word")
        format_lines([request.word, request.rest])
    elif request is not None:
        want(CALLID not in request.arguments, "a callid is left among the arguments")
        want(re.fullmatch("[a-z0-9_]*", request.name), "the name of a command")
        for reply in (
            format_ok(list(request.arguments.items()), request.callid),
            format_error("code", request.name, request.callid),
        ):
            want(re.fullmatch(rb"[!-~ ]*\r\n", reply), "a reply is not one line")


def run_door(data: bytes) -> None:
    """A connection to a whole tracker over a database in memory."""
    whole, cut = _door(blocks(data)), _door(pieces(data))
    # What operators are shown tells what waits, and so how bytes came.
    if b"!" not in data:
        want_same(whole, cut)


def _door(parts: list[bytes]) -> bytes:
    city = City()
    city.database.topology = Topology(
        domains=(Domain(1, "d"),), classes=(StorageClass(1, 1, "c", 2),)
    )
    connection, transport = city.connect()
    for part in parts:
        if connection._ended:
            break
        connection.dataReceived(part)
        waiting = len(connection._waiting)
        for _ in range(TURNS):
            if transport.producerState == "producing":
                break
            city.clock.advance(LONG_SECONDS)
        want(transport.producerState == "producing", "reading is never resumed")
        want(waiting <= MAX_WAITING_REQUESTS + READ_BYTES // 2, "requests that wait")
        want(
            connection._waiting_bytes <= MAX_WAITING_BYTES + READ_BYTES,
            "bytes that wait",
        )
        want(len(connection._lines) <= MAX_LINE_BYTES + 1, "an unfinished line")
    for _ in range(TURNS):
        if not connection._waiting and not connection._running:
            break
        city.clock.advance(LONG_SECONDS)
    want(not connection._waiting and not connection._running, "not all is answered")
    answer: bytes = _NOW.sub(b"=now", transport.value())
    want(b"Traceback" not in answer, "a traceback is told")
    connection.connectionLost()
    city.clock.advance(REPLY_SECONDS)
    want(not city.factory.door.connections, "a connection is not forgotten")
    want(city.say("noop") == "OK ", "a new connection is not answered")
    return answer


LINES = Target("tracker-lines", run_lines, Source(SAMPLES, WORDS), 3000)
DOOR = Target("tracker-door", run_door, Source(SAMPLES, WORDS), 250)
