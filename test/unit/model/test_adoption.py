"""Facts about a database, and the way over and back."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.model.adoption import (
    AT_LEAST,
    ESTIMATED,
    Amount,
    Facts,
    steps_back,
    steps_over,
)
from koboldfs.model.entities import Host, Topology

HOSTS = (
    Host(1, "h1", "alive", "10.0.0.1", 7500),
    Host(2, "h2", "down", "10.0.0.2", 7600),
    Host(3, "h3", "dead", "10.0.0.3", 7500),
)
URL = "postgresql://mogile:PASSWORD@db/mogilefs"


class Amounts(SynchronousTestCase):
    """How sure a number is."""

    def test_shown(self) -> None:
        """An estimate is never shown as if it had been counted."""
        self.assertEqual(str(Amount(1234567)), "1,234,567")
        self.assertEqual(str(Amount(1234567, ESTIMATED)), "about 1,234,567")
        self.assertEqual(str(Amount(100000, AT_LEAST)), "at least 100,000")


class Ways(SynchronousTestCase):
    """What the operator is told to do."""

    def commands(self, steps: object) -> list[str]:
        """The commands in their order."""
        return [one.command for one in steps if one.command]  # type: ignore[attr-defined]

    def test_over(self) -> None:
        """A tracker first, without jobs; then each node that is not dead, under its
        own name, address and port; a check at the end."""
        facts = Facts("postgresql", True, "17", topology=Topology(hosts=HOSTS))
        commands = self.commands(steps_over(facts, URL))
        tracker = f"twistd koboldfs --tracker --database {URL}"
        self.assertEqual(commands[0], f"{tracker} --jobs none")
        self.assertEqual(commands[2], tracker)
        nodes = [one for one in commands if "--storage " in one]
        self.assertEqual(len(nodes), 2)
        self.assertIn("--host-name h1 --host-ip 10.0.0.1 --join", nodes[0])
        self.assertIn("h2 --host-ip 10.0.0.2 --storage-listen tcp:7600", nodes[1])
        self.assertEqual(commands[-1], "koboldfs fsck start")

    def test_back(self) -> None:
        """Policies that MogileFS does not know are named, and what we leave behind."""
        commands = self.commands(steps_back())
        self.assertIn("--policy 'MultipleHosts()'", commands[0])
        self.assertIn(
            "DROP TABLE kobold_checksum, kobold_scrub, kobold_lost;", commands
        )
