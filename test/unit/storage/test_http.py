"""The HTTP door: what is asked of copies, and every way in which it goes wrong."""

from __future__ import annotations

import errno
from base64 import b64encode
from hashlib import md5

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.model.fid import uri
from koboldfs.storage import http
from koboldfs.storage.body import PIECE_BYTES
from koboldfs.storage.copies import INLINE_BYTES
from koboldfs.storage.http import REFUSED_BODY_SECONDS, SHORT_BODY_BYTES
from koboldfs.storage.upload import SMALL_BYTES
from koboldfs.wire.http import copy_target
from test.fakes.disk import FaultyDisk
from test.fakes.lanes import HeldLanes
from test.fakes.storage_node import FakeNode, lose, split_answer

TARGET = copy_target(1, 7)
URI = uri(1, 7).encode()


def get(more: bytes = b"", method: bytes = b"GET", path: bytes = URI) -> bytes:
    """A request without a body."""
    return b"%s %s HTTP/1.1\r\nHost: x\r\n%s\r\n" % (method, path, more)


def put(body: bytes, more: bytes = b"", path: bytes = URI) -> bytes:
    """A PUT with a length."""
    length = b"Content-Length: %d\r\n" % len(body)
    return get(length + more, b"PUT", path) + body


class ReadingCase(SynchronousTestCase):
    """Whether plain requests are read as such; `test_http_twisted` has all the rest."""

    plain = True


class DoorCase(ReadingCase):
    """A node that has a short file."""

    data = bytes(range(200))

    def setUp(self) -> None:
        """The node."""
        self.node = FakeNode(disk=FaultyDisk, plain=self.plain)
        self.assertEqual(self.ask(put(self.data))[0], 201)
        self.node.memory.calls.clear()

    def ask(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the answer."""
        found = split_answer(self.node.ask(request))
        self.assertEqual(self.node.memory.open_count, 0)
        return found

    def refused(self, status: int, request: bytes) -> str:
        """The line that says why; one line, in plain text, and no more."""
        found, headers, body = self.ask(request)
        self.assertEqual(found, status, body)
        self.assertEqual(headers["content-type"], "text/plain")
        self.assertEqual(body.count(b"\n"), 1)
        self.assertTrue(body.endswith(b"\n"))
        self.assertNotIn(b"Traceback", body)
        self.assertNotIn(b"/devs", body)
        self.assertEqual(self.node.files(), {TARGET.relative: self.data})
        return body.decode()


class Reading(DoorCase):
    """GET and HEAD"""

    def test_whole(self) -> None:
        """The bytes, how many, and how to recognise them."""
        status, headers, body = self.ask(get())
        self.assertEqual((status, body), (200, self.data))
        self.assertEqual(headers["content-length"], "200")
        self.assertEqual(headers["accept-ranges"], "bytes")
        self.assertEqual(headers["last-modified"][-4:], " GMT")
        self.assertEqual(self.ask(get(method=b"HEAD")), (200, headers, b""))

    def test_absolute_form(self) -> None:
        """A proxy's way to name the path."""
        self.assertEqual(self.ask(get(path=b"http://node:7500" + URI))[2], self.data)

    def test_ranges(self) -> None:
        """A part of the file, and that there is none."""
        for value, start, stop in (
            ("0-9", 0, 10),
            ("190-", 190, 200),
            ("-1", 199, 200),
        ):
            line = f"Range: bytes={value}\r\n".encode()
            status, headers, body = self.ask(get(line))
            self.assertEqual((status, body), (206, self.data[start:stop]))
            place = f"bytes {start}-{stop - 1}/200"
            self.assertEqual(headers["content-range"], place)
            self.assertEqual(headers["content-length"], str(stop - start))
            head, headers, _ = self.ask(get(line, b"HEAD"))  # it has no ranges
            self.assertEqual((head, headers["content-length"]), (200, "200"))
        status, headers, _ = self.ask(get(b"Range: bytes=200-\r\n"))
        self.assertEqual((status, headers["content-range"]), (416, "bytes */200"))
        self.assertEqual(self.ask(get(b"Range: bytes=0-1,4-5\r\n"))[0], 200)

    def test_conditions(self) -> None:
        """304 without a body, 412, and ranges of the very same file only."""
        etag = self.ask(get())[1]["etag"].encode()
        status, headers, body = self.ask(get(b"If-None-Match: %s\r\n" % etag))
        self.assertEqual((status, body), (304, b""))
        self.assertEqual(headers["etag"], etag.decode())
        self.assertNotIn("content-length", headers)
        self.assertEqual(self.ask(get(b'If-None-Match: "x"\r\n'))[0], 200)
        self.assertEqual(self.ask(get(b'If-Match: "x"\r\n'))[0], 412)
        modified = self.ask(get())[1]["last-modified"].encode()
        self.assertEqual(self.ask(get(b"If-Modified-Since: %s\r\n" % modified))[0], 304)
        for tag, expected in ((etag, 206), (b'"x"', 200)):
            request = get(b"Range: bytes=0-1\r\nIf-Range: %s\r\n" % tag)
            self.assertEqual(self.ask(request)[0], expected)

    def test_other_file_other_tag(self) -> None:
        """A file that replaced another has another tag, even of the same size."""
        before = self.ask(get())[1]["etag"]
        self.ask(put(bytes(reversed(self.data))))
        self.assertNotEqual(self.ask(get())[1]["etag"], before)

    def test_missing(self) -> None:
        """No file, no device, no path."""
        for path in (uri(1, 8), uri(9, 7), "/", "/dev1/", "/x", "/dev1/0/", "/dev1"):
            for method in (b"GET", b"HEAD"):
                found = self.ask(get(method=method, path=path.encode()))
                self.assertEqual(found[0], 404, path)

    def test_not_served_in_a_cluster(self) -> None:
        """A device that is not served is no reason to take a copy for missing."""
        self.node.folders.serve("cluster", "host", [])
        for number in (1, 9):
            path = uri(number, 7).encode()
            for method in (b"GET", b"HEAD", b"DELETE"):
                found = self.ask(get(method=method, path=path))
                self.assertEqual(found[0], 503, (method, path))
            self.assertEqual(self.ask(put(b"x", path=path))[0], 503)

    def test_long_files(self) -> None:
        """A file of many pieces is streamed, in order, and closed."""
        data = b"".join(bytes([n % 256]) * 999 for n in range(700))
        self.assertGreater(len(data), 2 * PIECE_BYTES)
        self.ask(put(data))
        status, headers, body = self.ask(get())
        self.assertEqual((status, body), (200, data))
        span = b"Range: bytes=100-%d\r\n" % (PIECE_BYTES + 200)
        self.assertEqual(self.ask(get(span))[2], data[100 : PIECE_BYTES + 201])
        self.assertEqual(self.ask(get(method=b"HEAD"))[1], headers)

    def test_size_limits(self) -> None:
        """Just below, at and above every limit of ours, files come back as they are."""
        for limit in (INLINE_BYTES, SMALL_BYTES, SHORT_BODY_BYTES, PIECE_BYTES):
            for size in (limit - 1, limit, limit + 1):
                data = b"\xa5" * size
                self.assertEqual(self.ask(put(data))[0], 201)
                self.assertEqual(self.ask(get())[2], data)
        self.ask(put(b""))
        self.assertEqual(self.ask(get())[2], b"")

    def test_reading_error(self) -> None:
        """A disk that fails before the first byte is a 500; in the middle the
        connection is cut, so that nobody takes a part for the whole."""
        self.node.disk.arm(1, only=("read",))
        self.refused(500, get())
        self.ask(put(b"x" * (INLINE_BYTES + PIECE_BYTES)))
        channel, wire = self.node.connect()
        self.node.disk.arm(2, only=("read",))
        channel.dataReceived(get())
        self.assertTrue(wire.aborted)
        self.assertLess(len(wire.value()), INLINE_BYTES + PIECE_BYTES)
        self.flushLoggedErrors()
        lose(channel)
        self.assertEqual(self.node.memory.open_count, 0)

    def test_slow_reader(self) -> None:
        """What a client does not take is not read from the disk."""
        self.ask(put(b"x" * (20 * PIECE_BYTES)))
        self.node.memory.calls.clear()
        channel, wire = self.node.connect()
        sent = wire.write

        def write(data: bytes) -> None:
            sent(data)
            channel.pauseProducing()

        wire.write = write  # type: ignore[method-assign]
        channel.dataReceived(get())
        self.assertLess(self.node.memory.calls.count("read"), 4)
        for _ in range(100):
            channel.resumeProducing()
        self.assertEqual(len(split_answer(wire.value())[2]), 20 * PIECE_BYTES)
        lose(channel)
        self.assertEqual(self.node.memory.open_count, 0)

    def test_reader_goes(self) -> None:
        """A client that goes in the middle leaves no open file."""
        self.ask(put(b"x" * (20 * PIECE_BYTES)))
        channel, wire = self.node.connect()
        wire.write = lambda data: channel.pauseProducing()
        channel.dataReceived(get())
        self.assertEqual(self.node.memory.open_count, 1)
        lose(channel)
        self.assertEqual(self.node.memory.open_count, 0)

    def test_usage(self) -> None:
        """Told from memory; not known yet is not available."""
        self.assertIn(b"used: ", self.ask(get(path=b"/dev1/usage"))[2])
        self.assertEqual(self.ask(get(path=b"/dev1/usage", method=b"HEAD"))[2], b"")
        self.assertEqual(self.ask(get(path=b"/dev9/usage"))[0], 404)
        self.node.folders.devices()[0].usage_text = b""
        self.refused(503, get(path=b"/dev1/usage"))


class Writing(DoorCase):
    """PUT that is refused: the old file stays, and nothing else is there."""

    def test_checksums(self) -> None:
        """A right Content-MD5 stores, a wrong or malformed one does not."""
        right = b64encode(md5(b"new").digest())
        wrong = b64encode(md5(b"old").digest())
        for value in (wrong, b"x", b"", right[:-1]):
            self.refused(400, put(b"new", b"Content-MD5: %s\r\n" % value))
        self.assertEqual(self.ask(put(b"new", b"Content-MD5: %s\r\n" % right))[0], 201)

    def test_long_checksums(self) -> None:
        """The same for a file that is streamed."""
        data = b"n" * (SMALL_BYTES + 1)
        wrong = b64encode(md5(b"old").digest())
        self.refused(400, put(data, b"Content-MD5: %s\r\n" % wrong))
        right = b64encode(md5(data).digest())
        self.assertEqual(self.ask(put(data, b"Content-MD5: %s\r\n" % right))[0], 201)

    def chunked(self, body: bytes, trailer: bytes, more: bytes = b"") -> bytes:
        """A chunked PUT with something behind the body."""
        head = get(b"Transfer-Encoding: chunked\r\n" + more, b"PUT")
        return head + b"%x\r\n%s\r\n0\r\n%s\r\n" % (len(body), body, trailer)

    def test_trailers(self) -> None:
        """Content-MD5 behind a chunked body counts, announced or not, short or long;
        one that contradicts the header, or makes no sense, is refused."""
        for body in (b"new", b"n" * (SMALL_BYTES + 1)):
            right = b"Content-MD5: %s\r\n" % b64encode(md5(body).digest())
            wrong = b"content-md5: %s\r\n" % b64encode(md5(b"old").digest())
            self.refused(400, self.chunked(body, wrong))
            self.refused(400, self.chunked(body, wrong, right))
            self.refused(400, self.chunked(body, right, wrong))
            self.refused(400, self.chunked(body, b"nonsense\r\n"))
            self.refused(400, self.chunked(body, b"Content-MD5: x\r\n"))
        self.assertEqual(self.ask(self.chunked(body, b"Other: x\r\n"))[0], 201)
        self.assertEqual(self.ask(self.chunked(body, right))[0], 201)

    def test_what_is_no_put(self) -> None:
        """Without a length, too long for any disk, of something else."""
        self.refused(411, get(method=b"PUT"))
        for length, status in ((b"9" * 15, 507), (b"9" * 19, 413), (b"9" * 20, 413)):
            self.refused(status, get(b"Content-Length: %s\r\n" % length, b"PUT"))
        self.refused(405, put(b"x", path=b"/dev1/usage"))
        self.refused(405, put(b"x", path=b"/dev1/0/000/000"))
        self.refused(404, put(b"x", path=b"/dev1/x"))
        self.refused(404, put(b"x", path=b"/dev1/%30/000/000/0000000008.fid"))
        self.refused(404, put(b"x", path=uri(9, 7).encode()))

    def test_disk_trouble(self) -> None:
        """Every call of a PUT fails with every errno: its status, and nothing lost."""
        for size in (3, SMALL_BYTES + 1):
            for number, status in (
                (errno.ENOSPC, 507),
                (errno.EDQUOT, 507),
                (errno.EROFS, 503),
                (errno.EACCES, 503),
                (errno.EIO, 500),
            ):
                for call in ("create", "write", "sync", "rename"):
                    self.node.disk.arm(1, number, only=(call,))
                    text = self.refused(status, put(b"x" * size))
                    self.assertIn("dev1", text)
                    self.node.disk.disarm()
                    self.node.folders.devices()[0].distrusted = ""

    def test_full_before_it_begins(self) -> None:
        """A file that cannot fit is refused while its first byte is on the way."""
        head = get(b"Content-Length: 99999999999\r\n", b"PUT")
        self.refused(507, head)

    def test_unavailable(self) -> None:
        """Read-only, and not there."""
        device = self.node.folders.devices()[0]
        device.refusal = "a test"
        self.refused(503, put(b"x"))
        self.refused(503, get(method=b"DELETE"))
        self.refused(503, get(method=b"MKCOL", path=b"/dev1/0/"))
        self.assertEqual(self.ask(get())[0], 200)
        device.trouble = "a test"
        self.refused(503, get())

    def test_broken_upload(self) -> None:
        """A client that goes at any point leaves nothing."""
        for size in (10, 2 * SMALL_BYTES, 40 * SMALL_BYTES):
            request = put(b"x" * size)
            for cut in (
                len(request) - size,
                len(request) - size // 2,
                len(request) - 1,
            ):
                channel, wire = self.node.connect()
                for start in range(0, cut, 65536):
                    channel.dataReceived(request[start : min(start + 65536, cut)])
                lose(channel)
                self.assertEqual(wire.value(), b"")
                self.assertEqual(self.node.files(), {TARGET.relative: self.data})
                self.assertEqual(self.node.memory.open_count, 0)

    def test_spoiled_upload(self) -> None:
        """A chunk that makes no sense in the middle of a long body."""
        channel, wire = self.node.connect()
        channel.dataReceived(get(b"Transfer-Encoding: chunked\r\n", b"PUT"))
        channel.dataReceived(b"20000\r\n" + b"x" * 0x20000 + b"\r\n")
        channel.dataReceived(b"nonsense\r\n0\r\n\r\n")
        self.assertEqual(split_answer(wire.value())[0], 400)
        lose(channel)
        self.assertEqual(self.node.files(), {TARGET.relative: self.data})

    def test_folders(self) -> None:
        """MKCOL is for folders, and only for them."""
        self.assertEqual(self.ask(get(method=b"MKCOL", path=b"/dev1/0/"))[0], 201)
        self.refused(405, get(method=b"MKCOL"))
        self.refused(404, get(method=b"MKCOL", path=b"/dev9/0/"))
        self.refused(404, get(method=b"MKCOL", path=b"/dev1/newdir/"))
        self.refused(405, get(method=b"DELETE", path=b"/dev1/0/"))

    def test_methods(self) -> None:
        """What is not known is not allowed, on any path."""
        for method in (b"OPTIONS", b"POST", b"COPY", b"PATCH", b"get", b"TRACE"):
            for path in (URI, b"/", b"/dev1/0/", b"*"):
                status, headers, _ = self.ask(get(method=method, path=path))
                self.assertEqual(status, 405)
                allowed = "GET, HEAD, PUT, DELETE, MKCOL, MOVE"
                self.assertEqual(headers["allow"], allowed)

    def test_unwanted_bodies(self) -> None:
        """A short body that nobody asked for is passed over; a long one is refused."""
        short = get(b"Content-Length: 5\r\n") + b"hello"
        channel, wire = self.node.connect()
        channel.dataReceived(short * 2)
        self.assertEqual(wire.value().count(b"HTTP/1.1 200 OK"), 2)
        lose(channel)
        self.refused(413, get(b"Content-Length: 9999999\r\n"))
        self.refused(413, get(b"Transfer-Encoding: chunked\r\n"))


class Slow(ReadingCase):
    """Bodies that wait for the disk, and refused ones that keep coming."""

    def setUp(self) -> None:
        """A node whose lanes are held."""
        self.lanes = HeldLanes()
        self.node = FakeNode(disk=FaultyDisk, lanes=self.lanes, plain=self.plain)

    def test_backpressure(self) -> None:
        """A client is not read from while the disk is behind, and in the end has its
        answer; the connection is used again."""
        data = b"x" * (64 * SMALL_BYTES)
        channel, wire = self.node.connect()
        channel.dataReceived(get(b"Content-Length: %d\r\n" % len(data), b"PUT"))
        pauses, offset = 0, 0
        while offset < len(data):
            if not wire.reading:
                pauses += 1
                self.lanes.step()
                continue
            channel.dataReceived(data[offset : offset + 65536])
            offset += 65536
        self.assertGreater(pauses, 3)
        self.assertEqual(wire.value(), b"")
        self.lanes.run_all()
        self.assertEqual(split_answer(wire.value())[0], 201)
        self.assertTrue(wire.reading)
        self.assertEqual(self.node.files(), {TARGET.relative: data})
        wire.clear()
        channel.dataReceived(get(method=b"HEAD"))
        self.lanes.run_all()
        self.assertEqual(split_answer(wire.value())[0], 200)
        lose(channel)

    def test_disk_fails_in_the_middle(self) -> None:
        """The answer goes out at once, the rest is thrown away, and the connection
        ends with the body."""
        data = b"x" * (4 * SMALL_BYTES)
        channel, wire = self.node.connect()
        channel.dataReceived(get(b"Content-Length: %d\r\n" % len(data), b"PUT"))
        self.node.disk.arm(1, errno.ENOSPC, only=("write",))
        channel.dataReceived(data[: 2 * SMALL_BYTES])
        self.lanes.run_all()
        status, headers, _ = split_answer(wire.value())
        self.assertEqual((status, headers["connection"]), (507, "close"))
        said = wire.value()
        channel.dataReceived(data[2 * SMALL_BYTES :])
        self.assertEqual(wire.value(), said)
        self.assertTrue(wire.disconnecting)
        lose(channel)
        self.assertEqual(self.node.files(), {})
        self.assertEqual(self.node.clock.getDelayedCalls(), [])

    def test_refused_and_never_ending(self) -> None:
        """A client that sends on and on after a refusal is cut off."""
        channel, wire = self.node.connect()
        channel.dataReceived(get(b"Content-Length: 99999999999\r\n", b"PUT"))
        self.assertEqual(split_answer(wire.value())[0], 507)
        for _ in range(10):
            channel.dataReceived(b"x" * 1000)
            self.node.clock.advance(REFUSED_BODY_SECONDS / 10)
        self.assertTrue(wire.aborted)
        lose(channel)

    def test_client_goes_before_the_answer(self) -> None:
        """A file that came whole is stored although nobody waits for the answer."""
        channel, wire = self.node.connect()
        channel.dataReceived(put(b"data"))
        lose(channel)
        self.lanes.run_all()
        self.assertEqual(wire.value(), b"")
        self.assertEqual(self.node.files(), {TARGET.relative: b"data"})

    def test_pipelined_uploads(self) -> None:
        """Requests on one connection are answered in their order."""
        channel, wire = self.node.connect()
        channel.dataReceived(put(b"one") + put(b"two") + get())
        self.lanes.run_all()
        self.assertEqual(wire.value().count(b" 201 Created"), 2)
        self.assertTrue(wire.value().endswith(b"\r\n\r\ntwo"))
        lose(channel)


class Defects(ReadingCase):
    """Whatever happens, there is one line and no traceback on the wire."""

    def test_defect(self) -> None:
        """A defect is logged, answered 500, and the connection closed."""
        node = FakeNode(plain=self.plain)
        node.copies.stat = None  # type: ignore[assignment, method-assign]
        channel, wire = node.connect()
        channel.dataReceived(get(method=b"HEAD"))
        self.assertEqual(split_answer(wire.value())[0], 500)
        self.assertTrue(wire.disconnecting)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        lose(channel)

    def test_defect_in_the_middle(self) -> None:
        """A defect after the head is out cuts the connection."""
        node = FakeNode(plain=self.plain)
        node.ask(put(b"x" * (INLINE_BYTES + 1)))
        self.patch(http, "FileBody", None)
        channel, wire = node.connect()
        channel.dataReceived(get())
        self.assertTrue(wire.aborted)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        lose(channel)
        self.assertEqual(node.memory.open_count, 0)


class AnyBytes(ReadingCase):
    """What nobody sends by mistake."""

    @settings(max_examples=200, deadline=None)
    @given(some.data())
    def test_any_bytes(self, data: some.DataObject) -> None:
        """No bytes make it answer anything but HTTP, log a defect, or leave a file
        outside the paths of copies."""
        words = [b"PUT ", b"GET ", URI, b" HTTP/1.1\r\n", b"Content-Length: 5\r\n"]
        words += [b"Transfer-Encoding: chunked\r\n", b"\r\n", b"5\r\nhello\r\n0\r\n"]
        words += [b"Range: bytes=", b"Expect: 100-continue\r\n", b"Content-MD5: "]
        pieces = some.one_of(some.sampled_from(words), some.binary(max_size=20))
        node = FakeNode(plain=self.plain)
        channel, wire = node.connect()
        for piece in data.draw(some.lists(pieces, max_size=20)):
            channel.dataReceived(piece)
        answer = wire.value()
        lose(channel)
        self.assertTrue(answer == b"" or answer.startswith(b"HTTP/1."))
        self.assertNotIn(b"Traceback", answer)
        self.assertLessEqual(set(node.files()), {TARGET.relative})
        self.assertEqual(node.memory.open_count, 0)
