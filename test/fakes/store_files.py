"""The part of `MemoryStore` that provides `IFiles`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from attrs import asdict, evolve

from koboldfs import errors
from koboldfs.model.entities import (
    Checksum,
    Closing,
    File,
    Located,
    Removal,
    Upload,
)
from test.fakes.store_tables import QueueRow


class FileCalls:
    """See `IFiles`; `self` is a `MemoryStore`."""

    tables: Any
    numbers: Any

    async def find(self, dmid: int, key: str) -> Located | None:
        """See `IFiles`."""
        await self.enter("find", dmid, key)
        file = self.tables.named(dmid, key)
        return self.tables.located(file.fid, checksum=False) if file else None

    async def find_fid(self, fid: int) -> Located | None:
        """See `IFiles`."""
        await self.enter("find_fid", fid)
        return self.tables.located(fid, checksum=True)

    async def devices_of(self, fid: int) -> tuple[int, ...]:
        """See `IFiles`."""
        await self.enter("devices_of", fid)
        return self.tables.devids(fid)

    async def open_upload(
        self, dmid: int, key: str, classid: int, devids: Sequence[int], fid: int | None
    ) -> int:
        """See `IFiles`."""
        await self.enter("open_upload", dmid, key, classid, tuple(devids), fid)
        self.check_key(key)
        tables = self.tables
        if fid is not None and fid <= self.numbers.floor:
            raise errors.FidInUse()
        self.numbers.pass_over(self.numbers.floor)
        highest = self.numbers.drawn()
        number = highest + 1 if fid is None else fid
        if number <= highest:
            raise errors.FidInUse()
        tables.last_fid = number
        tables.uploads[number] = Upload(
            number, self.now(), classid, dmid, key, tuple(devids)
        )
        return number

    async def find_upload(self, fid: int) -> Upload | None:
        """See `IFiles`."""
        await self.enter("find_upload", fid)
        return self.tables.uploads.get(fid)

    async def close_upload(self, closing: Closing) -> str:
        """See `IFiles`."""
        await self.enter("close_upload", closing)
        return self._close(closing)

    def _close(self, closing: Closing) -> str:
        self.check_key(closing.key)
        tables, fid = self.tables, closing.fid
        live = tables.files.get(fid)
        if live is not None:
            same = (live.dmid, live.key, live.length) == (
                closing.dmid,
                closing.key,
                closing.length,
            )
            tables.uploads.pop(fid, None)
            return "repeated" if same else "no_upload"
        if tables.uploads.pop(fid, None) is None:
            return "no_upload"
        older = tables.named(closing.dmid, closing.key)
        if older is not None:
            del tables.files[older.fid]
            tables.uploads.pop(older.fid, None)
            self.queue_deletion(older.fid)
        tables.files[fid] = File(
            fid,
            closing.dmid,
            closing.key,
            closing.length,
            closing.classid,
            len(set(closing.devids)),
        )
        tables.file_on.update((fid, devid) for devid in closing.devids)
        if closing.checksum is not None:
            tables.own_checksums[fid] = closing.checksum
        if closing.class_checksum is not None:
            tables.class_checksums[fid] = closing.class_checksum
        if not closing.settled:
            self.queue_new(fid)
        return "closed"

    async def abandon_upload(self, fid: int, devids: Sequence[int]) -> None:
        """See `IFiles`."""
        await self.enter("abandon_upload", fid, tuple(devids))
        tables = self.tables
        if fid in tables.files:
            return
        tables.uploads.pop(fid, None)
        tables.file_on.update((fid, devid) for devid in devids)
        tables.to_delete[fid] = QueueRow(self.now())

    async def delete(self, dmid: int, key: str) -> bool:
        """See `IFiles`."""
        await self.enter("delete", dmid, key)
        return self._delete(dmid, key)

    def _delete(self, dmid: int, key: str) -> bool:
        file = self.tables.named(dmid, key)
        if file is None:
            return False
        del self.tables.files[file.fid]
        self.queue_deletion(file.fid)
        return True

    async def apply(self, changes: Sequence[Closing | Removal]) -> None:
        """See `IFiles`."""
        await self.enter("apply", tuple(changes))
        before = deepcopy(self.tables)
        try:
            for change in changes:
                if isinstance(change, Removal):
                    self._delete(change.dmid, change.key)
                elif self._close(change) == "no_upload":
                    raise errors.NoUpload()
        except errors.KoboldError:
            self.tables = before
            raise

    async def rename(self, dmid: int, old: str, new: str) -> None:
        """See `IFiles`."""
        await self.enter("rename", dmid, old, new)
        self.check_key(new)
        file = self.tables.named(dmid, old)
        if file is None:
            raise errors.UnknownKey()
        if old == new:
            return
        if self.tables.named(dmid, new) is not None:
            raise errors.KeyExists()
        self.tables.files[file.fid] = evolve(file, key=new)

    async def set_class(self, fid: int, classid: int) -> bool:
        """See `IFiles`."""
        await self.enter("set_class", fid, classid)
        file = self.tables.files.get(fid)
        if file is None:
            return False
        self.tables.files[fid] = evolve(file, classid=classid)
        self.queue_again(fid, 0)
        return True

    def _listed(self, dmid: int, prefix: str, after: str, limit: int) -> list[File]:
        found = [
            file
            for file in self.tables.files.values()
            if file.dmid == dmid and file.key.startswith(prefix) and file.key > after
        ]
        return sorted(found, key=lambda file: file.key)[:limit]

    async def list_keys(
        self, dmid: int, prefix: str, after: str, limit: int
    ) -> list[str]:
        """See `IFiles`."""
        await self.enter("list_keys", dmid, prefix, after, limit)
        return [file.key for file in self._listed(dmid, prefix, after, limit)]

    async def list_files(self, after_fid: int, limit: int) -> list[Located]:
        """See `IFiles`."""
        await self.enter("list_files", after_fid, limit)
        fids = sorted(fid for fid in self.tables.files if fid > after_fid)[:limit]
        return [self.tables.located(fid, checksum=False) for fid in fids]

    async def list_domain(
        self, dmid: int, prefix: str, after: str, limit: int
    ) -> list[Located]:
        """See `IFiles`."""
        await self.enter("list_domain", dmid, prefix, after, limit)
        return [
            self.tables.located(file.fid, checksum=True)
            for file in self._listed(dmid, prefix, after, limit)
        ]

    async def class_checksum(self, fid: int) -> Checksum | None:
        """See `IFiles`."""
        await self.enter("class_checksum", fid)
        return self.tables.class_checksums.get(fid)

    async def own_checksum(self, fid: int) -> Checksum | None:
        """See `IFiles`."""
        await self.enter("own_checksum", fid)
        return self.tables.own_checksums.get(fid)

    async def queue_rows(self, fid: int) -> Mapping[str, Mapping[str, Any]]:
        """See `IFiles`."""
        await self.enter("queue_rows", fid)
        found: dict[str, Mapping[str, Any]] = {}
        row = self.tables.to_replicate.get(fid)
        if row is not None:
            found["replqueue"] = {"fid": fid, **asdict(row)}
        row = self.tables.to_delete.get(fid)
        if row is not None:
            found["delqueue"] = {
                "fid": fid,
                "nexttry": row.nexttry,
                "failcount": row.failcount,
            }
        upload = self.tables.uploads.get(fid)
        if upload is not None:
            found["tempfile"] = {
                "fid": fid,
                "createtime": upload.createtime,
                "classid": upload.classid,
                "dmid": upload.dmid,
                "dkey": upload.key,
                "devids": ",".join(map(str, upload.devids)),
            }
        return found
