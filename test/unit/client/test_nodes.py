"""Tests of koboldfs.client.nodes, folders and channels, with nodes that answer as
they are told (`test.contract` has what all providers of `INodes` promise)."""

from __future__ import annotations

from hashlib import md5
from typing import Any

from attrs import evolve

from koboldfs.client.folders import REMEMBER_SECONDS
from koboldfs.client.http_upload import BUFFER_BYTES
from koboldfs.client.mogstored import MIN_BYTES
from koboldfs.client.nodes import work_seconds
from koboldfs.client.relay import Digester
from koboldfs.errors import (
    CopyCorrupt,
    CopyMissing,
    NodeFault,
    NodeUnreachable,
)
from koboldfs.model.entities import (
    MD5,
    OWN_HASHTYPE,
    Checksum,
    CopyStat,
    Host,
    Place,
)
from koboldfs.model.fid import uri
from test.fakes.nodes import own_checksum
from test.unit.client.network import Wire, start
from test.unit.client.node_case import ABC, NodesCase, http


class OursTests(NodesCase):
    """What is asked of our own nodes, and what their replies mean."""

    def setUp(self) -> None:
        """The host is known to be ours."""
        super().setUp()
        self.be_ours()
        self.source = Place(Host(2, "two", "alive", "10.0.0.2", 7500), 4)

    def fails(self, kind: type[Exception], work: Any) -> str:
        """The message of the error with which it fails."""
        error = self.failureResultOf(self.run_now(work), kind).value
        self.assertIs(type(error), kind)
        return str(error)

    def test_stat(self) -> None:
        """Size and checksum; -1 is not there; nonsense is an error."""
        self.node.replies["stat"] = b"OK size=3&checksum=" + str(ABC).encode()
        stat = self.successResultOf(self.run_now(self.nodes.stat(self.place, 1)))
        self.assertEqual((stat.size, stat.checksum), (3, ABC))
        self.node.replies["stat"] = b"OK size=-1"
        self.assertIsNone(
            self.successResultOf(self.run_now(self.nodes.stat(self.place, 1)))
        )
        for reply in (b"OK", b"OK size=x", b"OK size=-2", b"OK size=1&checksum=MD5:0"):
            self.node.replies["stat"] = reply
            self.fails(NodeFault, self.nodes.stat(self.place, 1))

    def test_digest(self) -> None:
        """A digest has the time that a file of its size may take."""
        self.node.replies["stat"] = b"OK size=1000000000"
        digest = self.run_now(self.nodes.digest(self.place, 1, MD5))
        self.assertIn("digest devid=3&fid=1&type=MD5", self.node.asked)
        self.node.replies["usage"] = b"OK devices=0"
        for _ in range(100):
            self.network.wait(work_seconds(1_000_000_000) / 110)
            self.survey()
        self.assertNoResult(digest)
        self.network.wait(work_seconds(1_000_000_000) / 5)
        self.failureResultOf(digest, NodeUnreachable)

    def test_wrong_digest(self) -> None:
        """A digest of another type than was asked for is none."""
        self.node.replies["stat"] = b"OK size=3"
        self.node.replies["digest"] = b"OK checksum=" + str(ABC).encode()
        self.fails(NodeFault, self.nodes.digest(self.place, 1, MD5))
        self.node.replies["digest"] = b"OK missing=1"
        digest = self.run_now(self.nodes.digest(self.place, 1, MD5))
        self.assertIsNone(self.successResultOf(digest))

    def test_pull(self) -> None:
        """A pull names the source host, its device, the size and the checksum."""
        self.node.replies["pull"] = b"OK checksum=" + str(ABC).encode()
        copied = self.run_now(self.nodes.copy(self.source, self.place, 9, 3, ABC))
        self.assertEqual(self.successResultOf(copied), ABC)
        self.assertEqual(
            self.node.asked,
            ["pull devid=3&fid=9&size=3&host=two&fromdevid=4&checksum=" + str(ABC)],
        )

    def test_read_behind_a_web_server(self) -> None:
        """The node is read, not what stands before it: what that does not find is not
        missing."""
        place = Place(evolve(self.host, get_port=8080), 3)
        self.node.answers[f"8080 GET {uri(3, 1)}"] = http(404)
        self.node.answers[f"GET {uri(3, 1)}"] = http(200, b"abc")
        digester = Digester(OWN_HASHTYPE)
        read = self.run_now(self.nodes.read(place, 1, 0, None, digester))
        self.assertEqual(self.successResultOf(read), 3)
        self.assertEqual(digester.checksum(), ABC)

    def test_pull_of_other_bytes(self) -> None:
        """A checksum that is not the file's, or none, is no copy."""
        for reply in (b"OK checksum=" + str(own_checksum(b"x")).encode(), b"OK"):
            self.node.replies["pull"] = reply
            self.fails(NodeFault, self.nodes.copy(self.source, self.place, 9, 3, ABC))

    def test_pull_errors(self) -> None:
        """Whose fault it is can be told from the error."""
        for code, kind in (
            ("source_missing", CopyMissing),
            ("source_corrupt", CopyCorrupt),
            ("source_unreachable", NodeUnreachable),
        ):
            self.node.replies["pull"] = f"ERR {code} why".encode()
            work = self.nodes.copy(self.source, self.place, 9, 3, None)
            message = self.fails(kind, work)
            self.assertIn("why", message)
        for code in ("disk_full", "not_writable", "too_busy", "failure", "new_code"):
            self.node.replies["pull"] = f"ERR {code} why".encode()
            work = self.nodes.copy(self.source, self.place, 9, 3, None)
            error = self.failureResultOf(self.run_now(work), NodeFault).value
            self.assertNotIsInstance(error, (NodeUnreachable, CopyMissing, CopyCorrupt))

    def test_write_that_stored_other_bytes(self) -> None:
        """What the node says it stored is compared with what was sent."""
        self.node.answers["PUT"] = http(201)
        size = 2 * BUFFER_BYTES
        checksum = str(own_checksum(bytes(size - 1) + b"x")).encode()
        for reply in (
            b"OK size=4",
            b"OK size=-1",
            b"OK size=%d&checksum=" % size + checksum,
        ):
            self.node.replies["stat"] = reply
            writer = self.successResultOf(
                self.run_now(self.nodes.write(self.place, 1, size))
            )
            for _ in range(2):
                self.successResultOf(start(writer.write(bytes(BUFFER_BYTES))))
            self.failureResultOf(self.run_now(writer.finish()), NodeFault)

    def test_small_write_is_proven(self) -> None:
        """A small copy is checked by the node itself, so it is not asked again; an
        answer that promises less is not taken for that."""
        seen: list[bytes] = []
        heard = self.node._http

        def hear(port: int, wire: Wire, data: bytes) -> None:
            seen.append(data)
            heard(port, wire, data)

        self.patch(self.node, "_http", hear)
        self.node.replies["stat"] = b"OK size=4"
        for status in (201, 204):
            self.node.asked.clear()
            self.node.answers["PUT"] = http(status)
            writer = self.successResultOf(
                self.run_now(self.nodes.write(self.place, 1, 3))
            )
            self.successResultOf(start(writer.write(b"abc")))
            finished = self.run_now(writer.finish())
            self.assertIn(b"\r\nContent-MD5: kAFQmDzST7DWlj99KOF/cg==\r\n", seen[-1])
            if status == 201:
                self.assertEqual(
                    self.successResultOf(finished),
                    CopyStat(3, own_checksum(b"abc")),
                )
                self.assertEqual(self.node.asked, ["PUT " + uri(3, 1)])
            else:
                self.failureResultOf(finished, NodeFault)


class ForeignTests(NodesCase):
    """What is asked of foreign nodes, and what their answers mean."""

    def test_head(self) -> None:
        """Sizes by HEAD; an answer that does not tell is an error, not a size."""
        self.node.answers["HEAD"] = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"
        stat = self.run_now(self.nodes.stat(self.place, 1))
        self.assertEqual(self.successResultOf(stat).size, 7)
        for answer in (http(500), http(403)):
            self.node.answers["HEAD"] = answer
            stat = self.run_now(self.nodes.stat(self.place, 1))
            self.failureResultOf(stat, NodeFault)

    def test_head_without_a_length(self) -> None:
        """lighttpd and Apache do not say the length of an empty file: it is one if it
        has no first byte, else the length is not known."""
        self.node.answers["HEAD"] = b"HTTP/1.1 200 OK\r\n\r\n"
        for empty in (http(416), http(200)):
            self.node.answers["GET"] = empty
            stat = self.run_now(self.nodes.stat(self.place, 1))
            self.assertEqual(self.successResultOf(stat).size, 0)
        self.node.answers["GET"] = http(200, b"abc")
        stat = self.run_now(self.nodes.stat(self.place, 1))
        self.failureResultOf(stat, NodeFault)

    def test_delete(self) -> None:
        """2xx and 404 mean gone; anything else does not."""
        for status in (200, 204, 404):
            self.node.answers["DELETE"] = http(status)
            self.successResultOf(self.run_now(self.nodes.remove(self.place, 1)))
        for status in (403, 500, 503):
            self.node.answers["DELETE"] = http(status)
            removed = self.run_now(self.nodes.remove(self.place, 1))
            self.failureResultOf(removed, NodeFault)

    def test_folders(self) -> None:
        """Folders are made from the top, once, for an hour."""
        self.node.answers["MKCOL"] = http(201)
        self.successResultOf(self.run_now(self.nodes.prepare(self.place, 1234567890)))
        made = ["MKCOL /dev3/1/", "MKCOL /dev3/1/234/", "MKCOL /dev3/1/234/567/"]
        self.assertEqual(self.node.asked, made)
        self.successResultOf(self.run_now(self.nodes.prepare(self.place, 1234567891)))
        self.assertEqual(self.node.asked, made)
        self.network.reactor.advance(REMEMBER_SECONDS + 1)
        self.node.work()
        self.successResultOf(self.run_now(self.nodes.prepare(self.place, 1234567890)))
        self.assertEqual(self.node.asked, made * 2)

    def test_server_without_mkcol(self) -> None:
        """A server that does not know MKCOL is asked once; one that only failed is
        asked again."""
        for status in (400, 405, 501):
            self.setUp()
            self.node.answers["MKCOL"] = http(status)
            for fid in (1, 1234567890):
                self.successResultOf(self.run_now(self.nodes.prepare(self.place, fid)))
            self.assertEqual(len(self.node.asked), 1)
        self.setUp()
        self.node.answers["MKCOL"] = http(503)
        for _ in range(2):
            self.successResultOf(self.run_now(self.nodes.prepare(self.place, 1)))
        self.assertEqual(len(self.node.asked), 6)

    def test_skip_mkcol(self) -> None:
        """No MKCOL where the operator said that no node needs it."""
        self.node.answers["MKCOL"] = http(201)
        skip = [True]
        self.nodes.set_skip_mkcol(lambda: skip[0])
        self.successResultOf(self.run_now(self.nodes.prepare(self.place, 1)))
        self.assertEqual(self.node.asked, [])
        skip[0] = False
        self.successResultOf(self.run_now(self.nodes.prepare(self.place, 1)))
        self.assertEqual(len(self.node.asked), 3)

    def test_digest_by_mogstored(self) -> None:
        """A long file is digested beside its disk, if that is offered; a daemon that
        does not, or talks nonsense, is no reason to fail."""
        data = b"x" * MIN_BYTES
        path = uri(3, 1)
        right = md5(data).hexdigest()
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data)
        self.node.answers.update({"HEAD": head, "GET": http(200, data)})
        read = f"GET {path}"
        for reply, reads in (
            (f"{path} MD5={right}", 0),
            (f"{path} MD5=-1", 1),
            (f"{path} MD5=12", 1),
            (f"/dev4/x MD5={right}", 1),
            (f"ERR read {path} at 0 failed", 1),
            ("ERROR: unknown command: MD5", 1),
        ):
            self.node.asked.clear()
            self.node.replies[f"MD5 {path}"] = reply.encode()
            digest = self.run_now(self.nodes.digest(self.place, 1, MD5))
            self.assertEqual(
                self.successResultOf(digest), Checksum(MD5, md5(data).digest())
            )
            self.assertEqual(self.node.asked.count(f"MD5 {path}"), 1)
            self.assertEqual(self.node.asked.count(read), reads, reply)
        self.node.answers["HEAD"] = http(404)
        digest = self.run_now(self.nodes.digest(self.place, 1, MD5))
        self.assertIsNone(self.successResultOf(digest))

    def test_copy_to_a_target_that_spoils(self) -> None:
        """A target that has another size afterwards does not have the copy."""
        self.node.answers.update(
            {
                "MKCOL": http(405),
                "GET": http(200, b"abc"),
                "PUT": http(201),
                "HEAD": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
            }
        )
        copied = self.run_now(self.nodes.copy(self.place, self.place, 1, 3, ABC))
        self.failureResultOf(copied, NodeFault)

    def test_copy_to_a_target_that_refuses(self) -> None:
        """The target's error is not taken for the source's."""
        self.node.answers.update(
            {"MKCOL": http(405), "GET": http(200, b"abc"), "PUT": http(507)}
        )
        copied = self.run_now(self.nodes.copy(self.place, self.place, 1, 3, ABC))
        error = self.failureResultOf(copied, NodeFault).value
        self.assertNotIsInstance(error, (CopyCorrupt, CopyMissing))
        self.assertIn("507", str(error))

    def test_stop(self) -> None:
        """After stopping there is no connection and no timer left."""
        self.be_ours()
        self.node.replies.clear()
        asked = self.run_now(self.nodes.stat(self.place, 1))
        stopped = start(self.nodes.stop())
        self.node.work()
        self.network.turn()
        self.successResultOf(stopped)
        self.failureResultOf(asked, NodeUnreachable)
        self.assertTrue(all(wire.gone for _, wire in self.node.wires))
        self.assertEqual(self.network.reactor.getDelayedCalls(), [])
