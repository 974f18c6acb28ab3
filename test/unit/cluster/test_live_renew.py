"""The live view: names that nobody knows here are looked up once more."""

from __future__ import annotations

from koboldfs import errors
from koboldfs.cluster.live import RENEW_SECONDS
from test.fakes.world import DOMAIN, start
from test.unit.cluster.test_live import LiveCase


class Renewing(LiveCase):
    """`LiveView.renew`, and what of the name space uses it."""

    def test_news(self) -> None:
        """Who asks is told whether there is news, and a new host was looked at."""
        self.assertFalse(self.run_now(self.live.renew()))
        self.world.add_host(3)
        self.world.nodes.calls.clear()
        asked = start(self.live.renew())
        self.world.clock.advance(RENEW_SECONDS)
        self.assertTrue(self.successResultOf(asked))
        self.assertEqual(self.surveys(), [3])
        self.assertTrue(self.live.view.readable(30))

    def test_rate(self) -> None:
        """However many ask, the tables are read a few times a second; and everybody
        gets a picture that is younger than the question."""
        self.world.store.calls.clear()
        self.run_now(self.live.renew())
        asked = [start(self.live.renew()) for _ in range(50)]
        self.assertEqual(self.loads(), 1)
        self.world.clock.advance(RENEW_SECONDS)
        self.world.clock.advance(RENEW_SECONDS)
        for one in asked:
            self.successResultOf(one)
        self.assertLessEqual(self.loads(), 3)

    def test_away(self) -> None:
        """A database that is away is told, and asked again the next time."""
        self.world.store.away = True
        self.fail_now(self.live.renew(), errors.DatabaseAway)
        self.world.store.away = False
        asked = start(self.live.renew())
        self.world.clock.advance(RENEW_SECONDS)
        self.assertFalse(self.successResultOf(asked))

    def test_class(self) -> None:
        """A class that another tracker has just made."""
        namespace = self.world.namespace
        self.world.add_class(7, "c")
        self.assertRaises(errors.UnknownClass, namespace.classid, DOMAIN, "c")
        found = self.run_now(namespace.known_classid(DOMAIN, "c"))
        self.assertEqual(found, 7)
        asked = start(namespace.known_classid(DOMAIN, "x"))
        self.world.clock.advance(RENEW_SECONDS)
        self.failureResultOf(asked, errors.UnknownClass)

    def test_domain(self) -> None:
        """A domain that another tracker has just made; none is none at once."""
        namespace = self.world.namespace
        self.world.store.calls.clear()
        self.fail_now(namespace.known_domain(""), errors.NoDomain)
        self.assertEqual(self.loads(), 0)
        self.run_now(self.world.store.create_domain("new"))
        self.assertEqual(self.run_now(namespace.known_domain("new")).name, "new")

    def test_device(self) -> None:
        """A file whose only copy is on a device that another tracker has just made
        can be read at once."""
        self.world.add_host(3)
        self.world.file(5, [30], key="k5")
        urls = self.run_now(
            self.world.namespace.paths(
                DOMAIN, "k5", verify=False, count=2, client_ip="", alt=False
            )
        )
        self.assertEqual(len(urls), 1)
