"""pymogilefs, the client library from PyPI, on clusters of three nodes."""

from __future__ import annotations

import contextlib
import io
from itertools import count
from typing import Any

from pymogilefs import client as pymogilefs
from pymogilefs.exceptions import MogilefsError

from test.functional.case import FunctionalCase
from test.functional.cluster import DOMAIN

#: Every size class: nothing, one byte, small, more than one block, more than a buffer.
SIZES_BYTES = (0, 1, 1000, 65536, 3_000_001)


def content(size: int) -> bytes:
    """`size` bytes that differ from those of every other size."""
    pattern = f"{size:09d},".encode()
    return (pattern * (size // len(pattern) + 1))[:size]


class Sessions:
    """What a user does with the library; run on each kind of database."""

    def session(self: Any) -> tuple[Any, Any]:
        """A cluster, and pymogilefs talking to its first tracker."""
        cluster = self.cluster()
        first = cluster.nodes[0]
        where = f"{first.address}:{first.ports.tracker}"
        return cluster, pymogilefs.Client([where], DOMAIN)

    def fetch(self, client: Any, key: str) -> bytes:
        """The whole file, through the library."""
        with contextlib.closing(client.get_file(key)) as raw:
            return bytes(raw.read())

    def keys(self, client: Any, **arguments: Any) -> list[str]:
        """The keys that list_keys names, in order."""
        listed = client.list_keys(**arguments).data["keys"]
        return [listed[number] for number in sorted(listed)]

    def test_whole_life(self: Any) -> None:
        """Files are stored, listed, read, overwritten and deleted, byte for byte."""
        cluster, client = self.session()
        for size in SIZES_BYTES:
            stored = client.store_file(io.BytesIO(content(size)), f"size/{size}")
            self.assertEqual(stored["length"], size)
        for size in SIZES_BYTES:
            self.assertEqual(self.fetch(client, f"size/{size}"), content(size))
        self.assertEqual(
            self.keys(client, prefix="size/"),
            sorted(f"size/{size}" for size in SIZES_BYTES),
        )
        client.store_file(io.BytesIO(b"changed"), "size/1")
        self.assertEqual(self.fetch(client, "size/1"), b"changed")
        with contextlib.redirect_stdout(io.StringIO()):  # the library prints here
            client.delete_file("size/1000")
        with self.assertRaises(MogilefsError) as raised:
            client.get_paths("size/1000")
        self.assertEqual(raised.exception.code, "unknown_key")
        with cluster.tracker() as tracker:
            tracker.ask("rename", domain=DOMAIN, from_key="size/0", to_key="renamed")
        self.assertEqual(self.fetch(client, "renamed"), b"")
        self.assertNotIn("size/0", self.keys(client))

    def test_pages_of_keys(self: Any) -> None:
        """Listing in pages by `after` and `limit` finds every key once."""
        _, client = self.session()
        names = [f"page/{number:02d}" for number in range(7)]
        for name in names:
            client.store_file(io.BytesIO(name.encode()), name)
        found: list[str] = []
        after = None
        for _ in count():
            page = client.list_keys(prefix="page/", after=after, limit=3).data
            if not page["key_count"]:
                break
            found += [page["keys"][number] for number in sorted(page["keys"])]
            after = page["next_after"]
        self.assertEqual(found, names)

    def test_replicated_everywhere(self: Any) -> None:
        """What the library stored lies on all three hosts soon, the same bytes."""
        cluster, client = self.session()
        client.store_file(io.BytesIO(content(65536)), "copied")
        copies = cluster.wait_copies("copied", 3)
        for copy in copies:
            self.assertEqual(copy.read_bytes(), content(65536))

    def test_management(self: Any) -> None:
        """Hosts, devices and classes are managed and told in the library's form."""
        cluster, client = self.session()
        backend = client._backend
        found = backend.get_hosts().data["hosts"]
        names = {host["hostname"] for host in found.values()}
        self.assertEqual(names, {node.name for node in cluster.nodes})
        states = {
            one["observed_state"]
            for one in backend.get_devices().data["devices"].values()
        }
        self.assertEqual(states, {"writeable"})
        backend.create_domain("other")
        backend.create_class("other", "thrice", 3)
        backend.update_class("other", "thrice", 2)
        backend.delete_class("other", "thrice")
        backend.delete_domain("other")
        with cluster.tracker() as tracker:
            domains = tracker.ask("get_domains")
        self.assertNotIn("other", domains.values())


class OnSQLite(Sessions, FunctionalCase):
    """One tracker on SQLite."""

    database = "sqlite"


class OnPostgreSQL(Sessions, FunctionalCase):
    """Three trackers on PostgreSQL."""

    database = "postgresql"
