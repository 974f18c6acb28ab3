"""How classes of a database would be treated."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.model.adoption import Facts
from koboldfs.model.adoption_classes import ClassReading, readings
from koboldfs.model.entities import Device, Domain, Host, StorageClass, Topology


def facts(
    hosts: int, *classes: StorageClass, full: bool = False, policy: str = ""
) -> Facts:
    """A database with a domain, and so many hosts of one device each."""
    used = 9_950 if full else 10
    return Facts(
        "sqlite",
        True,
        "17",
        topology=Topology(
            hosts=tuple(
                Host(n, f"h{n}", "alive", f"10.0.0.{n}", 7500)
                for n in range(1, hosts + 1)
            ),
            devices=tuple(
                Device(n, n, "alive", 100, 10_000, used) for n in range(1, hosts + 1)
            ),
            domains=(Domain(1, "d"),),
            classes=classes,
            settings=(("kobold_policy", policy),) if policy else (),
        ),
    )


def classed(copies: int, policy: str | None = None) -> StorageClass:
    """A class."""
    return StorageClass(1, 5, "c", copies, policy)


class Readings(SynchronousTestCase):
    """The policy that counts, and whether it can be met."""

    def read(self, found: Facts) -> ClassReading:
        """The reading of the class that is not `default`."""
        (one,) = (one for one in readings(found) if one.name == "c")
        return one

    def test_default_class(self) -> None:
        """The class `default` is there without a row."""
        (one,) = readings(facts(2))
        self.assertEqual((one.name, one.mindevcount), ("default", 2))
        self.assertEqual(str(one.policy), "MultipleHosts()")

    def test_policies(self) -> None:
        """The class's own policy, else the setting's, else MogileFS's default."""
        own = self.read(facts(3, classed(2, "X::MultipleDevices(3)"), policy="Y"))
        self.assertEqual(str(own.policy), "MultipleDevices(3)")
        from_setting = self.read(facts(3, classed(2), policy="AllHosts()"))
        self.assertEqual(str(from_setting.policy), "AllHosts()")
        self.assertEqual(str(self.read(facts(3, classed(2))).policy), "MultipleHosts()")

    def test_unknown(self) -> None:
        """A plugin's policy is read as MultipleHosts, and said not to be known."""
        one = self.read(facts(2, classed(2, "HostsPerNetwork(a=1)")))
        self.assertFalse(one.understood)
        self.assertEqual(str(one.policy), "MultipleHosts()")
        self.assertEqual(one.text, "HostsPerNetwork(a=1)")

    def test_possible(self) -> None:
        """How many copies can be had; a file waits for more unless the policy takes
        what there is for enough. Without any room none can be had."""
        for policy, copies, hosts, wanted, possible, held_up in (
            (None, 2, 2, 2, 2, False),
            (None, 3, 2, 3, 2, False),
            (None, 2, 1, 2, 1, True),
            (None, 1, 1, 1, 1, False),
            ("MultipleDevices(3)", 1, 2, 3, 2, False),
            ("MultipleDevices(3)", 1, 1, 3, 1, True),
            ("AllHosts()", 1, 3, 3, 3, False),
        ):
            one = self.read(facts(hosts, classed(copies, policy)))
            found = (one.wanted, one.possible, one.held_up)
            self.assertEqual(found, (wanted, possible, held_up), (policy, hosts))
        self.assertEqual(self.read(facts(2, classed(2), full=True)).possible, 0)
