"""Uploads that trackers draw ahead while many files are stored, with real processes."""

from __future__ import annotations

import threading
import time

from test.functional.case import FunctionalCase
from test.functional.cluster import DOMAIN, Cluster, wait_until
from test.functional.postgresql import shared
from test.functional.tracker_line import TrackerLine, put

CLIENTS, SECONDS = 4, 1.5
#: Until trackers draw ahead what is asked for so often.
DEMAND_SECONDS = 60.0
#: Until a tracker has thrown away what it drew and nobody wanted.
QUIET_SECONDS = 30.0


class DrawnAhead(FunctionalCase):
    """Two trackers on PostgreSQL under load."""

    database = "postgresql"

    def setUp(self) -> None:
        """Start it; a file is stored when it has one copy."""
        super().setUp()
        self.two = self.cluster(2)
        with self.two.tracker() as line:
            line.ask("set_server_setting", key="kobold_ack_copies", value=1)

    def blank(self) -> int:
        """Uploads in the database of which nobody said what they are."""
        statement = "select count(*) from tempfile where devids = ''"
        ((count,),) = shared().execute(self.two.url, statement)
        assert isinstance(count, int)
        return count

    def ask_for_many(self) -> None:
        """Open uploads and throw them away, until the trackers draw ahead."""
        until = time.monotonic() + DEMAND_SECONDS
        for node in self.two.nodes:
            before = self.blank()
            with node.tracker() as line:
                while self.blank() < before + 8:
                    self.assertLess(time.monotonic(), until, "nothing is drawn ahead")
                    for _ in range(20):
                        opened = line.ask("create_open", domain=DOMAIN, key="k")
                        self.give_up(line, opened)

    def give_up(self, line: TrackerLine, opened: dict[str, str]) -> None:
        """Throw an upload away: close it without a key."""
        named = {name: opened[name] for name in ("fid", "devid", "path")}
        line.ask("create_close", domain=DOMAIN, key="", **named)

    def store(self, opener: TrackerLine, closer: TrackerLine, key: str) -> None:
        """A file that holds its own name."""
        opened = opener.ask("create_open", domain=DOMAIN, key=key)
        put(opened["path"], key.encode())
        named = {name: opened[name] for name in ("fid", "devid", "path")}
        closer.ask("create_close", domain=DOMAIN, key=key, size=len(key), **named)

    def load(self, across: bool) -> list[str]:
        """The keys stored by clients that close where they opened, or elsewhere."""
        stored: list[str] = []
        broken: list[str] = []
        until = time.monotonic() + SECONDS

        def client(number: int) -> None:
            lines = [node.tracker() for node in self.two.nodes]
            if number % 2:
                lines.reverse()
            try:
                while time.monotonic() < until:
                    key = f"{across}/{number}/{len(stored)}"
                    self.store(lines[0], lines[1 if across else 0], key)
                    stored.append(key)
            except Exception as error:
                broken.append(repr(error))
            finally:
                for line in lines:
                    line.close()

        threads = [
            threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(broken, [])
        return stored

    def check(self, keys: list[str], cluster: Cluster) -> None:
        """Every key has its own bytes."""
        with cluster.tracker(1) as line:
            for key in keys:
                self.assertEqual(line.fetch(DOMAIN, key), key.encode())

    def test_closed_there_and_elsewhere(self) -> None:
        """All are stored, whichever tracker they are closed with; when it is quiet no
        blank upload is left."""
        keys = []
        for across in (False, True):
            self.ask_for_many()
            keys += self.load(across)
        self.check(keys, self.two)
        wait_until(lambda: self.blank() == 0, QUIET_SECONDS, "no blank uploads", 0.2)
