"""What every provider of `IHealth` promises."""

from __future__ import annotations

from zope.interface.verify import verifyObject

from koboldfs.interfaces_health import IHealth
from koboldfs.model.health import Shortage
from test.contract.store import StoreContract


class HealthContract(StoreContract):
    """Counts of what is at risk."""

    async def test_health_interface(self) -> None:
        """It has the interface's methods with their arguments."""
        verifyObject(IHealth, self.store.health)

    async def test_shortages(self) -> None:
        """Files by the number of their copies, the fewest first, up to the limit."""
        health = self.store.health
        self.assertEqual(list(await health.shortages(1, 0, 9, 100)), [])
        one = [await self.stored(1, f"one{n}", 1) for n in range(3)]
        two = [await self.stored(1, f"two{n}", 1, 2) for n in range(2)]
        await self.stored(1, "three", 1, 2, 3)
        await self.stored(2, "elsewhere", 1)
        found = [Shortage(1, 3, one[0]), Shortage(2, 2, two[0])]
        self.assertEqual(list(await health.shortages(1, 0, 3, 100)), found)
        self.assertEqual(list(await health.shortages(1, 0, 2, 100)), found[:1])
        capped = await health.shortages(1, 0, 3, 4)
        self.assertEqual([s.files for s in capped], [3, 1])
        self.assertEqual(list(await health.shortages(1, 7, 3, 100)), [])
        self.assertEqual(list(await health.shortages(1, 0, 0, 100)), [])
        self.assertEqual(list(await health.shortages(1, 0, 3, 0)), [])

    async def test_copies_on(self) -> None:
        """Counted up to the limit."""
        health = self.store.health
        self.assertEqual(await health.copies_on(1, 10), 0)
        for number in range(5):
            await self.stored(1, f"k{number}", 1, 2)
        self.assertEqual(await health.copies_on(2, 10), 5)
        self.assertEqual(await health.copies_on(2, 3), 3)
        self.assertEqual(await health.copies_on(2, 0), 0)

    async def test_clock(self) -> None:
        """The database's clock is asked."""
        self.assertEqual(
            await self.store.health.unix_time(), await self.store.tasks.unix_time()
        )
