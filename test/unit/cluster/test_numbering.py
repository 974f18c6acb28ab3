"""Fids are never given out again."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from koboldfs.cluster.numbering import CHECK_SECONDS, Numbering
from koboldfs.errors import NodeFault
from koboldfs.model.numbering import FORGOTTEN_SETTING, MOST_LIFTED, FidRange
from test.fakes.world import World, WorldCase


class NumberingCase(WorldCase):
    """Three hosts with a device each; fids up to 100 were drawn."""

    def setUp(self) -> None:
        """Make them."""
        self.world = world = World.of(3)
        world.tables.last_fid = 100
        self.numbers = world.store.numbers
        self.numbering = Numbering(self.numbers, world.nodes, world.live, world.clock)
        world.live.observe(self.numbering.notice)
        self.run_now(self.numbering.check())

    def tell(self, devid: int, fid: int) -> None:
        """The device's node says that its highest fid is this one."""
        view = self.world.live.view
        seen = evolve(view.health.devices[devid], highest_fid=fid)
        health = evolve(view.health, devices={**view.health.devices, devid: seen})
        self.world.live._offer(evolve(view, health=health))

    def open(self) -> int:
        """The fid of a new upload."""
        return self.run_now(self.world.store.open_upload(1, "k", 0, (10,), None))

    @property
    def noted(self) -> Any:
        """The setting."""
        return self.world.tables.settings.get(FORGOTTEN_SETTING)


class Lifts(NumberingCase):
    """What nodes tell, and what comes of it."""

    def test_peace(self) -> None:
        """What was drawn by the database is nothing new, and asks nothing of it."""
        before = len(self.world.called("highest_drawn"))
        for fid in (5, 100):
            self.tell(10, fid)
        self.assertEqual(self.open(), 101)
        self.assertIsNone(self.noted)
        self.assertEqual(len(self.world.called("highest_drawn")), before)
        self.run_now(self.numbering.check())
        self.assertEqual(self.world.called("lift"), [])

    def test_at_once(self) -> None:
        """No upload gets a fid that a node has told of, whoever of them; without any
        other look at the database."""
        self.tell(10, 500)
        self.tell(20, 300)
        self.assertEqual(self.world.called("lift"), [])
        self.assertEqual(self.open(), 501)
        self.assertEqual(self.noted, "101-500")

    def test_check(self) -> None:
        """The database is lifted for others, too, which is logged once."""
        self.tell(10, 500)
        self.run_now(self.numbering.check())
        self.assertEqual(self.world.tables.last_fid, 500)
        self.assertEqual(self.noted, "101-500")
        self.assertEqual(self.numbering.forgotten(), (FidRange(101, 500),))
        self.run_now(self.numbering.check())
        self.run_now(self.world.live.refresh())
        self.assertEqual(self.world.called("lift"), [(500,)])

    def test_while_running(self) -> None:
        """A database that goes back behind a running tracker is found, too."""
        self.tell(10, 100)
        self.world.tables.last_fid = 40
        self.assertEqual(self.open(), 101)
        self.assertEqual(self.noted, "41-100")

    def test_drawn_meanwhile(self) -> None:
        """A number that was drawn while we looked is not taken for a forgotten one."""
        real = self.numbers.highest_drawn

        async def highest_drawn() -> int:
            found = await real()
            self.open()
            self.world.nodes.put(self.world.place(10), 101, b"x")
            return int(found)

        self.world.nodes.put(self.world.place(10), 10**9, b"x")
        self.tell(10, 10**9)
        self.patch(self.numbers, "highest_drawn", highest_drawn)
        self.run_now(self.numbering.check())
        self.assertIsNone(self.noted)

    def test_beyond_belief(self) -> None:
        """A file of a number that cannot be burns none; the highest below it counts."""
        nodes, far = self.world.nodes, 200 + MOST_LIFTED
        for fid in (far, 300):
            nodes.put(self.world.place(10), fid, b"x")
        self.tell(10, far)
        self.assertEqual(self.open(), 101)
        self.run_now(self.numbering.check())
        self.assertEqual(self.numbering.unbelieved, {10: far})
        self.assertEqual(self.noted, "102-300")
        self.assertEqual(self.open(), 301)
        self.tell(10, 301)
        self.run_now(self.numbering.check())
        self.assertEqual(self.numbering.unbelieved, {})

    def test_little_by_little(self) -> None:
        """Nor do many steps that each can be, before somebody has looked."""
        for _ in range(10):
            told = self.world.tables.last_fid + MOST_LIFTED // 2
            self.world.nodes.put(self.world.place(10), told, b"x")
            self.tell(10, told)
            self.run_now(self.numbering.check())
        self.assertLess(self.world.tables.last_fid, 200 + MOST_LIFTED)
        self.assertIn(10, self.numbering.unbelieved)
        del self.world.tables.settings[FORGOTTEN_SETTING]
        self.run_now(self.world.live.refresh())
        self.run_now(self.numbering.check())
        self.assertEqual(self.numbering.unbelieved, {})

    def test_silent_node(self) -> None:
        """One that does not tell more is left out."""

        async def highest_fid(self: object, place: object, below: int) -> int:
            raise NodeFault("it does not say")

        self.patch(type(self.world.nodes), "highest_fid", highest_fid)
        self.tell(10, 9_999_999_999)
        self.tell(20, 200)
        self.run_now(self.numbering.check())
        self.assertEqual(self.noted, "101-200")

    def test_before_the_first_check(self) -> None:
        """Nothing is believed before the database was asked how far it is."""
        numbering = Numbering(
            self.numbers, self.world.nodes, self.world.live, self.world.clock
        )
        self.world.live._observers[:] = [numbering.notice]
        self.tell(10, 9_999_999_999)
        self.assertEqual(self.numbers.floor, 0)

    def test_unit(self) -> None:
        """As a job it asks now and then."""
        before = len(self.world.called("highest_drawn"))
        for _ in range(5):
            self.run_now(self.numbering())
        self.assertEqual(len(self.world.called("highest_drawn")), before + 1)
        self.world.clock.advance(CHECK_SECONDS)
        self.run_now(self.numbering())
        self.assertEqual(len(self.world.called("highest_drawn")), before + 2)
