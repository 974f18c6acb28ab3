"""Clusters whose storage nodes are web servers, alone and beside nodes of ours."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Sequence
from typing import Any

from test.functional.case import FunctionalCase
from test.functional.cluster import DOMAIN, Cluster, Node, devices, wait_until
from test.functional.mogstored import MogstoredDouble
from test.functional.tracker_line import Refused, TrackerLine, get, put
from test.functional.web_servers import WebServer

SEEN_SECONDS = 20.0
COPIED_SECONDS = 30.0
CONTENT = bytes(range(256)) * 1000


class ForeignCase(FunctionalCase):
    """A tracker, and hosts that are web servers."""

    def servers(self, *kinds: str) -> list[WebServer]:
        """Started servers, device N on 127.0.0.<N>; they end with the test."""
        found = []
        for number, kind in enumerate(kinds, 11):
            server = WebServer(kind, f"127.0.0.{number}", number)
            self.addCleanup(server.remove)
            server.start()
            found.append(server)
        return found

    def tracker_only(self) -> TrackerLine:
        """A connection to a new tracker that has no storage beside it."""
        cluster = Cluster(0)
        self.clusters.append(cluster)
        self.addCleanup(cluster.stop)
        arguments = [
            f"--data={cluster.folder / 'data'}",
            f"--database=sqlite:///{cluster.folder / 'koboldfs.db'}",
            f"--domain={DOMAIN}",
        ]
        node = Node(
            1, cluster.folder / "node1", cluster.ports, arguments, is_storage=False
        )
        cluster.nodes.append(node)
        node.is_quick = True
        node.start()

        def answers() -> bool:
            node.must_run()
            with node.tracker(5) as line:
                line.ask("get_domains")
            return True

        wait_until(answers, SEEN_SECONDS, "the tracker answers")
        tracker = node.tracker()
        self.addCleanup(tracker.close)
        return tracker

    def add(self, tracker: TrackerLine, servers: Sequence[Any]) -> None:
        """Make them hosts of the cluster, as mogadm would."""
        for server in servers:
            name = f"host{server.devid}"
            tracker.ask(
                "create_host",
                host=name,
                ip=server.address,
                port=server.port,
                status="alive",
            )
            tracker.ask(
                "create_device", hostname=name, devid=server.devid, state="alive"
            )

    def seen(self, tracker: TrackerLine, devid: int, observed: str) -> None:
        """Wait until the tracker has seen that of the device."""

        def true() -> bool:
            return any(
                device["devid"] == str(devid) and device["observed_state"] == observed
                for device in devices(tracker)
            )

        wait_until(true, SEEN_SECONDS, f"dev{devid} is {observed}")

    def copied(self, tracker: TrackerLine, key: str, count: int) -> list[int]:
        """Wait for that many copies; the devices that have them."""

        def found() -> list[int]:
            answer = tracker.ask("file_info", domain=DOMAIN, key=key, devices=1)
            return [int(devid) for devid in answer["devids"].split(",") if devid]

        wait_until(lambda: len(found()) == count, COPIED_SECONDS, f"{count} copies")
        return found()

    def fid(self, tracker: TrackerLine, key: str) -> int:
        """The number of the file of that key."""
        return int(tracker.ask("file_info", domain=DOMAIN, key=key)["fid"])

    def has_copies(self, servers: Sequence[Any], fid: int, content: bytes) -> None:
        """Each of the servers has those bytes on its disk."""
        for server in servers:
            self.assertEqual(server.copy(fid).read_bytes(), content, server.kind)


class OnlyForeign(ForeignCase):
    """No node of ours at all."""

    def life(self, servers: Sequence[Any]) -> None:
        """Store, replicate, verify, read, delete; on two servers."""
        tracker = self.tracker_only()
        self.add(tracker, servers)
        for server in servers:
            self.seen(tracker, server.devid, "writeable")
        tracker.ask("create_class", domain=DOMAIN, class_="sums", mindevcount=2)
        tracker.ask(
            "update_class", domain=DOMAIN, class_="sums", mindevcount=2, hashtype="MD5"
        )
        # Two copies are promised: the second one exists when the answer comes.
        tracker.store(DOMAIN, "promised", CONTENT)
        fid = self.fid(tracker, "promised")
        self.has_copies(servers, fid, CONTENT)
        # One copy is promised: the other one is made afterwards. With the promise of
        # the sender, it is checked.
        tracker.ask("set_server_setting", key="kobold_ack_copies", value=1)
        self.store_sums(tracker, "later", b"")
        self.store_sums(tracker, "wrong", b"x")
        self.copied(tracker, "later", 2)
        later = self.fid(tracker, "later")
        self.has_copies(servers, later, CONTENT)
        verified = tracker.ask("get_paths", domain=DOMAIN, key="later", pathcount=9)
        self.assertEqual(verified["paths"], "2")
        self.assertEqual(tracker.fetch(DOMAIN, "later"), CONTENT)
        tracker.store(DOMAIN, "empty", b"")
        self.copied(tracker, "empty", 2)
        self.assertEqual(tracker.fetch(DOMAIN, "empty"), b"")
        tracker.ask("delete", domain=DOMAIN, key="promised")
        for server in servers:
            wait_until(
                lambda server=server: not server.copy(fid).exists(),
                COPIED_SECONDS,
                "the copy is deleted",
            )

    def store_sums(self, tracker: TrackerLine, key: str, spoil: bytes) -> None:
        """Store to the class with checksums; spoiled, the tracker must refuse."""
        opened = tracker.ask("create_open", domain=DOMAIN, key=key, class_="sums")
        put(opened["path"], CONTENT)
        arguments = {
            "domain": DOMAIN,
            "key": key,
            "fid": opened["fid"],
            "devid": opened["devid"],
            "path": opened["path"],
            "size": len(CONTENT),
            "checksum": "MD5:" + hashlib.md5(CONTENT + spoil).hexdigest(),
            "checksumverify": 1,
        }
        if spoil:
            error = self.assertRaises(Refused, tracker.ask, "create_close", **arguments)
            self.assertEqual(error.code, "checksum_mismatch")
        else:
            tracker.ask("create_close", **arguments)

    def test_nginx(self) -> None:
        """nginx: makes folders on PUT, answers MKCOL with 405."""
        self.life(self.servers("nginx", "nginx"))

    def test_lighttpd(self) -> None:
        """lighttpd: needs MKCOL."""
        self.life(self.servers("lighttpd", "lighttpd"))

    def test_apache(self) -> None:
        """Apache: needs MKCOL."""
        self.life(self.servers("apache", "apache"))

    def test_mogstored(self) -> None:
        """MogileFS's own: MKCOL is a bad request, PUT answers 200 over HTTP/1.0, and
        digests are asked of its side channel."""
        # Its side channel has a fixed port: the address must be one of our own.
        network = f"127.{os.getpid() % 199 + 1}.{random.randrange(1, 255)}"
        servers = []
        for devid in (21, 22):
            servers.append(MogstoredDouble(f"{network}.{devid}", devid))
            self.addCleanup(servers[-1].remove)
        self.life(servers)
        asked = [line for server in servers for line in server.asked]
        self.assertEqual({line.split()[0] for line in asked}, {"MD5"}, asked)

    def test_away_and_back(self) -> None:
        """A host that goes away is not offered; what it missed it gets later."""
        servers = self.servers("nginx", "lighttpd")
        tracker = self.tracker_only()
        self.add(tracker, servers)
        for server in servers:
            self.seen(tracker, server.devid, "writeable")
        first, second = servers
        second.stop()
        self.seen(tracker, second.devid, "unreachable")
        tracker.store(DOMAIN, "missed", CONTENT)
        self.assertEqual(self.copied(tracker, "missed", 1), [first.devid])
        second.start()
        self.copied(tracker, "missed", 2)
        self.has_copies(servers, self.fid(tracker, "missed"), CONTENT)

    def test_no_usage(self) -> None:
        """Without a usage file the room is not known: the device is unreachable, as
        for MogileFS, until somebody writes one."""
        (server,) = self.servers("nginx")
        (server.device / "usage").unlink()
        tracker = self.tracker_only()
        self.add(tracker, [server])
        self.seen(tracker, server.devid, "unreachable")
        error = self.assertRaises(
            Refused, tracker.ask, "create_open", domain=DOMAIN, key="k"
        )
        self.assertEqual(error.code, "no_devices")
        server.stop()
        server.start()
        self.seen(tracker, server.devid, "writeable")


class Beside(ForeignCase):
    """A node of ours and web servers in one cluster."""

    def test_both_ways(self) -> None:
        """Copies go from ours to a foreign node, and from a foreign one to ours."""
        cluster = self.cluster(1)
        servers = self.servers("nginx", "apache")
        with cluster.tracker() as tracker:
            tracker.ask("set_server_setting", key="kobold_ack_copies", value=1)
            self.add(tracker, servers)
            for server in servers:
                self.seen(tracker, server.devid, "writeable")
            ours = next(
                device["devid"]
                for device in devices(tracker)
                if device["hostname"] == "node1"
            )
            for key, devid in (("from-ours", ours), ("from-foreign", "11")):
                opened = tracker.ask(
                    "create_open", domain=DOMAIN, key=key, multi_dest=1
                )
                paths = {
                    opened[f"devid_{number}"]: opened[f"path_{number}"]
                    for number in range(1, int(opened["dev_count"]) + 1)
                }
                put(paths[devid], CONTENT)
                tracker.ask(
                    "create_close",
                    domain=DOMAIN,
                    key=key,
                    fid=opened["fid"],
                    devid=devid,
                    path=paths[devid],
                    size=len(CONTENT),
                )
                self.copied(tracker, key, 3)
                self.has_copies(servers, int(opened["fid"]), CONTENT)
                for path in tracker.paths(DOMAIN, key):
                    self.assertEqual(get(path), CONTENT, path)
