"""What every provider of `IFiles` promises about keys: order, prefixes, limits."""

from __future__ import annotations

from koboldfs import errors
from koboldfs.model.entities import Closing, Removal
from test.contract.store import OURS, StoreContract

#: In ascending order of bytes. Not so in most languages' order of letters.
KEYS = ["%", "A", "Z", "_a", "a", "a%", "a%b", "aXb", "a_", "a_b", "ab", "\xc3", "\xff"]


class ListsContract(StoreContract):
    """Keys are bytes, and listed as such."""

    async def store_keys(self, dmid: int = 1) -> None:
        """Store the sample, in another order."""
        await self.together(*(self.stored(dmid, key, 1, 2) for key in reversed(KEYS)))

    async def test_list_in_order_of_bytes(self) -> None:
        """All keys of the domain, ascending by bytes, whatever the letters' order."""
        await self.store_keys()
        await self.stored(2, "elsewhere")
        files = self.store.files
        self.assertEqual(await files.list_keys(1, "", "", 1000), KEYS)
        self.assertEqual(await files.list_keys(3, "", "", 1000), [])

    async def test_list_in_pages(self) -> None:
        """`after` is exclusive, so pages neither repeat nor leave out a key."""
        await self.store_keys()
        found: list[str] = []
        while page := await self.store.files.list_keys(
            1, "", found[-1] if found else "", 2
        ):
            self.assertLessEqual(len(page), 2)
            found += page
        self.assertEqual(found, KEYS)
        self.assertEqual(await self.store.files.list_keys(1, "", "", 0), [])

    async def test_list_prefix_is_literal(self) -> None:
        """No byte of a prefix means anything but itself."""
        await self.store_keys()
        for prefix in ("a%", "a_", "%", "_", "a", "\xff", "\xc3", "A", "b", "\\", "*"):
            expected = [key for key in KEYS if key.startswith(prefix)]
            found = await self.store.files.list_keys(1, prefix, "", 1000)
            self.assertEqual(found, expected, prefix)

    async def test_list_prefix_of_last_bytes(self) -> None:
        """A prefix of bytes 255 has no successor, and still works."""
        keys = ["\xfe\xff", "\xff", "\xff\xfe", "\xff\xff", "\xff\xff\xff"]
        for key in keys:
            await self.stored(1, key)
        for prefix in ("\xff", "\xff\xff", "\xfe\xff", ""):
            expected = [key for key in keys if key.startswith(prefix)]
            found = await self.store.files.list_keys(1, prefix, "", 10)
            self.assertEqual(found, expected)

    async def test_list_prefix_and_after(self) -> None:
        """Both bounds hold, also when `after` lies outside of the prefix."""
        await self.store_keys()
        files = self.store.files
        self.assertEqual(await files.list_keys(1, "a", "a%", 2), ["a%b", "aXb"])
        self.assertEqual(await files.list_keys(1, "a", "A", 2), ["a", "a%"])
        self.assertEqual(await files.list_keys(1, "a", "b", 2), [])

    async def test_list_domain(self) -> None:
        """The same in whole files, with devices and our checksum."""
        await self.store_keys()
        found = await self.store.files.list_domain(1, "a", "a", 3)
        self.assertEqual([one.file.key for one in found], ["a%", "a%b", "aXb"])
        for one in found:
            self.assertEqual(sorted(one.devids), [1, 2])
            self.assertEqual(one.checksum, OURS)

    async def test_list_files(self) -> None:
        """Files of all domains, ascending by fid, from after a fid."""
        fids = [await self.stored(n, "k", 1, 2) for n in (1, 2, 1, 3)]
        alive = [fids[1], fids[2], fids[3]]
        found = await self.store.files.list_files(0, 100)
        self.assertEqual([one.file.fid for one in found], alive)
        found = await self.store.files.list_files(fids[1], 1)
        self.assertEqual([one.file.fid for one in found], [fids[2]])
        self.assertEqual(sorted(found[0].devids), [1, 2])
        self.assertEqual(await self.store.files.list_files(fids[3], 100), [])
        self.assertEqual(await self.store.files.list_files(2**63, 100), [])

    async def test_a_file_without_copies(self) -> None:
        """It is found and listed all the same."""
        fid = await self.upload(1, "a")
        await self.store.files.close_upload(Closing(fid, 1, "a", 0, 1, ()))
        self.assertEqual((await self.store.files.find(1, "a")).devids, ())
        self.assertEqual(len(await self.store.files.list_files(0, 9)), 1)

    async def test_longest_key(self) -> None:
        """The longest key works in every place, with bytes of any value."""
        files, key = self.store.files, "\xe9" * self.key_bytes
        fid = await self.stored(1, key)
        self.assertEqual((await files.find(1, key)).file.fid, fid)
        self.assertEqual(await files.list_keys(1, key[:-1], "", 2), [key])
        other = "\xea" * self.key_bytes
        await files.rename(1, key, other)
        self.assertIs(await files.delete(1, other), True)

    async def test_key_too_long(self) -> None:
        """One byte more is refused where it would be stored."""
        files, key = self.store.files, "k" * (self.key_bytes + 1)
        await self.stored(1, "a")
        fid = await self.upload(1, "b")
        refused = errors.ValueRefused
        await self.fault(refused, files.open_upload(1, key, 0, (1,), None))
        closing = Closing(fid, 1, key, 0, 1, (1,))
        await self.fault(refused, files.close_upload(closing))
        await self.fault(refused, files.apply([closing]))
        await self.fault(refused, files.rename(1, "a", key))
        self.assertIsNotNone(await files.find_upload(fid))

    async def test_nul_bytes(self) -> None:
        """A key with a NUL byte is refused, not cut; and it is never there."""
        files, key = self.store.files, "a\0b"
        fid = await self.stored(1, "a")
        upload = await self.upload(1, "b")
        refused = errors.ValueRefused
        await self.fault(refused, files.open_upload(1, key, 0, (1,), None))
        closing = Closing(upload, 1, key, 0, 1, (1,))
        await self.fault(refused, files.close_upload(closing))
        await self.fault(refused, files.rename(1, "a", key))
        await self.fault(refused, files.apply([Removal(1, "a"), closing]))
        self.assertIsNone(await files.find(1, key))
        self.assertIs(await files.delete(1, key), False)
        await self.fault(errors.UnknownKey, files.rename(1, key, "c"))
        await files.apply([Removal(1, key)])
        self.assertEqual((await files.find(1, "a")).file.fid, fid)

    async def test_keys_are_not_sql(self) -> None:
        """Quotes, backslashes and the marks of parameters are bytes like any."""
        for key in ("'", '"', "\\", "\\'", "%s", "?", ":key", "%(a)s", ";--", "$1"):
            fid = await self.stored(1, key)
            self.assertEqual((await self.store.files.find(1, key)).file.fid, fid)
            self.assertEqual(await self.store.files.list_keys(1, key, "", 9), [key])
            self.assertIs(await self.store.files.delete(1, key), True)
