"""Several processes that are one node: they share ports and work, and go on alone."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import Counter
from typing import Any
from urllib.parse import parse_qsl

from test.functional import mariadb
from test.functional.case import FunctionalCase
from test.functional.cluster import DOMAIN, Node, devices, hosts, wait_until
from test.functional.load import Load
from test.functional.processes import (
    READY_SECONDS,
    admin,
    ask,
    children,
    connect,
    connections_to_each,
    lives,
    process_of,
    wait_gone,
    wait_ready,
)
from test.functional.tracker_line import Refused

#: From the death of one to the next one in its place being ready.
BACK_SECONDS = 40.0
#: From the death of the parent to the end of all.
ORPHANS_SECONDS = 12.0
#: From SIGTERM or ``!shutdown`` to the end of all.
END_SECONDS = 12.0
BEFORE_SECONDS, AFTER_SECONDS = 1.5, 4.0


class Shared:
    """One node of a few processes, tracker and storage; on each kind of database."""

    def several(self: Any, count: int = 2, *more: str) -> Node:
        """The node, with all of its processes ready."""
        node: Node = self.cluster(1, f"--processes={count}", *more).nodes[0]
        wait_ready(node)
        return node

    def each(self: Any, node: Node) -> list[Any]:
        """A connection to each of two processes, closed with the test."""
        found = connections_to_each(node, 2)
        for connection in found:
            self.addCleanup(connection.close)
        return found

    def test_one_installation(self: Any) -> None:
        """However many processes, there is one host with its devices; every one of
        them serves every file, and a burst of connections is spread over them."""
        node = self.several(3, "--devices=2")
        self.assertEqual(len(children(node)), 3)
        with node.tracker() as line:
            self.assertEqual([host["hostname"] for host in hosts(line)], ["node1"])
            self.assertEqual([one["devid"] for one in devices(line)], ["1", "2"])
            for number in range(20):
                line.store(DOMAIN, f"key{number}", str(number).encode())
        for number in range(20):
            with node.tracker() as line:
                found = line.fetch(DOMAIN, f"key{number}")
                self.assertEqual(found, str(number).encode())
        burst = [connect(node) for _ in range(32)]
        spread = Counter(map(process_of, burst))
        for connection in burst:
            connection.close()
        self.assertEqual(set(spread), {1, 2, 3})
        self.assertGreater(min(spread.values()), 4, "nobody has nearly all of them")
        self.assertNotIn("Traceback", node.log.read_text())

    def test_new_names(self: Any) -> None:
        """A domain, a class and a setting made through one process are there for the
        others at once, and again when they are gone."""
        node = self.several()
        both = self.each(node)
        for turn in range(30):
            one, other = both if turn % 2 else both[::-1]
            name = f"new{turn}"
            self.assertIn("OK", ask(one, f"create_domain domain={name}"))
            words = f"domain={name}&key=k&class="
            self.assertIn("OK", ask(other, f"create_open {words}"))
            made = f"create_class domain={name}&class=c&mindevcount=1"
            self.assertIn("OK", ask(one, made))
            self.assertIn("OK", ask(other, f"create_open {words}c"))
            self.assertIn("unreg_domain", ask(other, "create_open domain=no&key=k"))
            device = f"devid={turn + 50}&hostname=node1"
            self.assertIn("OK", ask(one, f"create_device {device}"))

        def known(connection: Any) -> int:
            fields = dict(parse_qsl(ask(connection, "get_devices").partition(" ")[2]))
            return int(fields["devices"])

        wait_until(lambda: set(map(known, both)) == {31}, 2.0, "both know all devices")


class Several(Shared):
    """What happens when processes end."""

    def test_kill_one(self: Any) -> None:
        """One process is killed under load: the other goes on, its connections stay,
        the dead one is started anew, and whatever was acknowledged is there."""
        node = self.several()
        first, second = self.each(node)
        load = Load(self.clusters[0], writers=3, readers=3).start()
        self.addCleanup(load.stop)
        time.sleep(BEFORE_SECONDS)
        before = len(load.promised)
        old = children(node)
        os.kill(old[1], signal.SIGKILL)
        with self.assertRaises(OSError):
            for _ in range(100):
                ask(second, "noop")
                time.sleep(0.01)
        for _ in range(50):
            self.assertEqual(ask(first, "noop"), "OK")
        time.sleep(AFTER_SECONDS)

        def back() -> bool:
            now = children(node)
            return len(now) == 2 and now != old

        wait_until(back, BACK_SECONDS, "another process in its place")
        load.stop()
        self.assertEqual(load.broken, [])
        self.assertGreater(before, 0)
        self.assertGreater(len(load.promised), before, "stores went on")
        load.read_all(self.clusters[0])
        self.assertEqual(load.broken, [])
        self.assertEqual(ask(first, "noop"), "OK")
        self.each(node)
        self.assertIn("process 2 has ended (SIGKILL)", node.log.read_text())

    def test_end(self: Any) -> None:
        """SIGTERM to the parent ends all of it, in order and soon."""
        node = self.several()
        pids = children(node)
        began = time.monotonic()
        self.assertIn(node.stop(), (0, -signal.SIGTERM))
        self.assertLess(time.monotonic() - began, END_SECONDS)
        self.assertEqual([pid for pid in pids if lives(pid)], [])
        self.assertNotIn("Traceback", node.log.read_text())

    def test_parent_dies(self: Any) -> None:
        """Children whose parent was killed end as well, and leave the ports."""
        node = self.several()
        pids = children(node)
        node.kill()
        wait_gone(pids, ORPHANS_SECONDS)
        node.start()
        wait_ready(node, 2)
        with node.tracker() as line:

            def stored() -> bool:
                # The ports are open before the device was seen to take files.
                with contextlib.suppress(Refused):
                    line.store(DOMAIN, "after", b"content")
                    return True
                return False

            wait_until(stored, READY_SECONDS, "a store")


class OnSQLite(Several, FunctionalCase):
    """One file of SQLite for several trackers."""

    database = "sqlite"

    def test_wishes(self) -> None:
        """What an operator wants of a job holds for all processes, also for one that
        is started anew; ``!shutdown`` ends all of them."""
        node = self.several()
        first, second = self.each(node)
        admin(first, b"want 0 fsck")

        def unwanted(connection: Any) -> bool:
            return "fsck desired 0" in admin(connection, b"jobs")

        wait_until(lambda: unwanted(second), 5.0, "the other does not want it either")
        old = children(node)
        os.kill(old[1], signal.SIGKILL)
        wait_until(
            lambda: len(children(node)) == 2 and children(node) != old,
            BACK_SECONDS,
            "another process in its place",
        )
        _, third = self.each(node)
        self.assertTrue(unwanted(third))
        pids = children(node)
        first.sendall(b"!shutdown\r\n")
        assert node.process is not None
        node.process.wait(END_SECONDS)
        self.assertEqual([pid for pid in pids if lives(pid)], [])


class OnPostgreSQL(Several, FunctionalCase):
    """The usual database."""

    database = "postgresql"


class OnMariaDB(Shared, FunctionalCase):
    """Here nobody but the parent tells a process what another one has changed."""

    def setUp(self) -> None:
        """A new database."""
        super().setUp()
        server = mariadb.shared()
        self.database = server.new_database()
        self.addCleanup(server.drop, self.database)
