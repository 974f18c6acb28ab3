"""The small tables, stepped with no database."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.errors import DuplicateRow, ExistingDevid, HostExists, ValueRefused
from koboldfs.store import transactions_topology as change
from koboldfs.store.steps import Again
from test.unit.store.play import POSTGRES, SQLITE, play, rows

#: hostid, status, http_port, http_get_port, hostname, hostip, altip, altmask
ROW = (3, "alive", 7500, None, "one", "10.0.0.1", None, None)


class Hosts(SynchronousTestCase):
    """Numbers and addresses."""

    def test_number(self) -> None:
        """A new host gets the number above the highest, and others are told."""
        steps = change.create_host(POSTGRES, "two", {"ip": "10.0.0.2"})
        played = play(steps, rows(ROW), rows(count=1))
        self.assertEqual(played.result, 4)
        self.assertEqual(
            [one.sql for one in played.quiet], ["NOTIFY koboldfs_topology"]
        )

    def test_lost_race(self) -> None:
        """Who loses a race for the number tries again; then the name is seen."""
        with self.assertRaises(Again):
            steps = change.create_host(SQLITE, "two", {"ip": "10.0.0.2"})
            play(steps, rows(), DuplicateRow())
        with self.assertRaises(HostExists):
            play(change.create_host(SQLITE, "one", {"ip": "10.0.0.2"}), rows(ROW))

    def test_null_addresses_do_not_clash(self) -> None:
        """Hosts without an address are many."""
        bare = (4, "down", None, None, "bare", None, None, None)
        steps = change.update_host(SQLITE, 3, {"altip": "", "status": "down"})
        play(steps, rows(ROW, bare), rows(count=1))
        play(change.create_host(SQLITE, "two", {}), rows(bare), rows(count=1))

    def test_unknown_column(self) -> None:
        """Only columns of a host may be set, its number not."""
        for values in ({"hostid": 5}, {"color": "red"}, {"status'--": "x"}):
            with self.assertRaises(ValueRefused):
                play(change.update_host(SQLITE, 3, values))


class Devices(SynchronousTestCase):
    """Races and notices."""

    def test_lost_race(self) -> None:
        """Whoever was faster has it."""
        steps = change.create_device(SQLITE, 1, 3, "alive")
        with self.assertRaises(ExistingDevid):
            play(steps, rows((3,)), rows(), DuplicateRow())

    def test_measurements_are_not_announced(self) -> None:
        """Others need not hear of every measurement."""
        quiet = play(change.update_device(POSTGRES, 1, {"mb_used": 5})).quiet
        self.assertEqual(len(quiet), 1)
        quiet = play(change.update_device(POSTGRES, 1, {"status": "down"})).quiet
        self.assertEqual(len(quiet), 2)


class Loading(SynchronousTestCase):
    """From rows to a topology."""

    def test_null_columns(self) -> None:
        """What MogileFS may leave undefined has a sensible value."""
        host = (1, None, None, None, None, None, None, None)
        device = (1, 1, None, None, None, None, None)
        loaded = play(
            change.load(SQLITE, False),
            rows(host),
            rows(device),
            rows((1, None)),
            rows((1, 0, None, 2, "", None)),
            rows(("s", None)),
        ).result
        self.assertEqual((loaded.hosts[0].ip, loaded.hosts[0].http_port), ("", 7500))
        self.assertEqual(loaded.hosts[0].status, "down")
        self.assertEqual(loaded.devices[0].weight, 100)
        self.assertIsNone(loaded.classes[0].policy)
        self.assertEqual(loaded.settings, (("s", ""),))


class Settings(SynchronousTestCase):
    """Defaults."""

    def test_default(self) -> None:
        """What is there wins; nothing is written then."""
        played = play(change.default_setting(SQLITE, "s", "new"), rows(("old",)))
        self.assertEqual((played.result, played.quiet), ("old", []))
        played = play(change.default_setting(SQLITE, "s", "new"), rows(), rows(("x",)))
        self.assertEqual(played.result, "x")
