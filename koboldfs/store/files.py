"""The name space in the database: the provider of `IFiles`."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from koboldfs.errors import KoboldError, UnknownKey, ValueRefused
from koboldfs.interfaces import IFiles
from koboldfs.model.entities import Checksum, Closing, Located, Removal, Upload
from koboldfs.model.fid import MAX_FID
from koboldfs.store import transactions_files as look
from koboldfs.store import transactions_quick as quick
from koboldfs.store import transactions_uploads as uploads
from koboldfs.store.batch import Kind
from koboldfs.store.database import Database
from koboldfs.store.schema import file, refuse_unfit, refuse_unfit_text
from koboldfs.store.steps import Mode, Steps
from koboldfs.store.stock import Stock
from koboldfs.store.transactions_files import Name
from koboldfs.store.transactions_uploads import Blank, Opening

T = TypeVar("T")


@implementer(IFiles)
class Files:
    """Look-ups, uploads and deletions gather into batches; the rest runs by itself."""

    def __init__(self, database: Database) -> None:
        self._database = database
        batch, steps = database.batch, database.steps
        find: Kind[Name, Located | None] = Kind("find", steps(look.find))
        find_fid: Kind[int, Located | None] = Kind("find_fid", steps(look.find_fids))
        find_upload: Kind[int, Upload | None] = Kind(
            "find_upload", steps(look.find_uploads)
        )
        own_checksum: Kind[int, Checksum | None] = Kind(
            "own_checksum", steps(look.own_checksums)
        )
        opening: Kind[Opening, int] = Kind(
            "open_upload",
            self._draw,
            Mode.SINGLE,
            repeatable=True,
        )
        closing: Kind[Closing, str] = Kind(
            "close_upload",
            steps(quick.close_quickly),
            Mode.SINGLE,
            repeatable=True,
            racing=True,
            marks=uploads.marks_of,
        )
        delete: Kind[Name, bool] = Kind(
            "delete",
            steps(quick.delete_quickly),
            Mode.SINGLE,
            marks=lambda name: {name},
        )
        drawing: Kind[Blank, list[int]] = Kind(
            "draw_blank",
            self._draw_blank,
            Mode.SINGLE,
            repeatable=True,
            limit=1,
        )
        self._drawing = batch(drawing)
        self._find = batch(find)
        self._find_fid = batch(find_fid)
        self._find_upload = batch(find_upload)
        self._own_checksum = batch(own_checksum)
        self._open = batch(opening)
        self._close = batch(closing)
        self._delete = batch(delete)
        self._stock = Stock(
            database.clock,
            lambda dmid, classid, count: self._drawing.ask(Blank(dmid, classid, count)),
            lambda openings: database.write(
                "describe_uploads", uploads.describe_uploads, tuple(openings)
            ),
            lambda fids: database.write(
                "forget_uploads", uploads.forget_uploads, tuple(fids)
            ),
        )

    def stop(self) -> Deferred[None]:
        """Leave no upload behind of which only we know what it is."""
        return Deferred.fromCoroutine(self._stock.stop())

    # --- looking

    def find(self, dmid: int, key: str) -> Deferred[Located | None]:
        """See `IFiles.find`. A key that no row can hold is not there."""
        if "\0" in key or len(key) > self._database.estate.key_bytes:
            return succeed(None)
        return self._find.ask((dmid, key))

    def find_fid(self, fid: int) -> Deferred[Located | None]:
        """See `IFiles.find_fid`."""
        return self._find_fid.ask(fid) if _possible(fid) else succeed(None)

    def devices_of(self, fid: int) -> Deferred[tuple[int, ...]]:
        """See `IFiles.devices_of`."""
        if not _possible(fid):
            return succeed(())
        return self._database.read("devices_of", look.devices_of, fid)

    def find_upload(self, fid: int) -> Deferred[Upload | None]:
        """See `IFiles.find_upload`."""
        if not _possible(fid):
            return succeed(None)
        look = self._find_upload.ask
        return Deferred.fromCoroutine(self._stock.described(look, fid))

    def list_keys(
        self, dmid: int, prefix: str, after: str, limit: int
    ) -> Deferred[list[str]]:
        """See `IFiles.list_keys`."""
        return self._list(look.list_keys, dmid, prefix, after, limit)

    def list_domain(
        self, dmid: int, prefix: str, after: str, limit: int
    ) -> Deferred[list[Located]]:
        """See `IFiles.list_domain`."""
        return self._list(look.list_domain, dmid, prefix, after, limit)

    def _list(
        self, steps: Any, dmid: int, prefix: str, after: str, limit: int
    ) -> Deferred[Any]:
        try:
            refuse_unfit_text(prefix)
            refuse_unfit_text(after)
        except ValueRefused as refusal:
            return fail(refusal)
        if limit < 1:
            return succeed([])
        return self._database.read("list_keys", steps, dmid, prefix, after, limit)

    def list_files(self, after_fid: int, limit: int) -> Deferred[list[Located]]:
        """See `IFiles.list_files`."""
        if limit < 1 or after_fid >= MAX_FID:
            return succeed([])
        after = max(after_fid, 0)
        return self._database.read("list_files", look.list_files, after, limit)

    def class_checksum(self, fid: int) -> Awaitable[Checksum | None]:
        """See `IFiles.class_checksum`."""
        if not _possible(fid):
            return succeed(None)
        return self._database.read("class_checksum", look.class_checksum, fid)

    def own_checksum(self, fid: int) -> Awaitable[Checksum | None]:
        """See `IFiles.own_checksum`."""
        if not _possible(fid):
            return succeed(None)
        return self._own_checksum.ask(fid)

    def queue_rows(self, fid: int) -> Awaitable[Mapping[str, Mapping[str, Any]]]:
        """See `IFiles.queue_rows`."""
        if not _possible(fid):
            return succeed({})
        return self._database.read("queue_rows", look.queue_rows, fid)

    # --- uploading

    def open_upload(
        self, dmid: int, key: str, classid: int, devids: Sequence[int], fid: int | None
    ) -> Deferred[int]:
        """See `IFiles.open_upload`."""
        text = ",".join(map(str, devids))
        opening = Opening(dmid, key, classid, text, fid or None)
        try:
            self._refuse_key(key)
            if len(text) > self._database.estate.devids_chars:
                raise ValueRefused("Too many devices for one upload")
            values = {"dmid": dmid, "classid": classid}
            refuse_unfit(file, values | ({"fid": fid} if fid else {}))
        except ValueRefused as refusal:
            return fail(refusal)
        if opening.fid is not None:
            steps, floor = uploads.open_upload_as, self._database.floor
            return self._database.write_once("open_upload", steps, opening, floor)
        # A tracker of MogileFS would not wait until an upload is described.
        theirs = self._database.estate.made_by_mogilefs
        drawn = None if theirs else self._stock.take(opening)
        return self._open.ask(opening) if drawn is None else succeed(drawn)

    def _draw(self, wanted: Sequence[Opening]) -> Steps[list[int]]:
        """New fids, above all that lie on a disk as far as is known. A sequence only
        goes on: should it have gone back when somebody draws again, it is an old one.
        In other engines a number that was never committed is drawn again."""
        database = self._database
        fids = yield from uploads.open_uploads(database.sql, wanted, database.floor)
        if database.sql.tongue.name == "postgresql":
            database.raise_floor(max(fids))
        return fids

    def _draw_blank(self, wanted: Sequence[Blank]) -> Steps[list[list[int]]]:
        """The same for uploads of which only domain and class are known yet."""
        drawn = []
        for one in wanted:
            opening = Opening(one.dmid, "", one.classid, "")
            drawn.append((yield from self._draw([opening] * one.count)))
        return drawn

    def close_upload(self, closing: Closing) -> Deferred[str]:
        """See `IFiles.close_upload`."""
        try:
            self._refuse_closing(closing)
        except ValueRefused as refusal:
            return fail(refusal)
        return self._close.ask(closing).addCallback(self._closed, closing.fid)

    def abandon_upload(self, fid: int, devids: Sequence[int]) -> Deferred[None]:
        """See `IFiles.abandon_upload`."""
        if not _possible(fid):
            return succeed(None)
        steps = uploads.abandon_upload
        answer = self._database.write("abandon_upload", steps, fid, tuple(devids))
        return answer.addCallback(self._closed, fid)

    def apply(self, changes: Sequence[Closing | Removal]) -> Deferred[None]:
        """See `IFiles.apply`."""
        if not changes:
            return succeed(None)
        possible: list[Closing | Removal] = []
        try:
            for change in changes:
                if isinstance(change, Closing):
                    self._refuse_closing(change)
                elif not self._may_exist(change.key):
                    continue
                possible.append(change)
        except ValueRefused as refusal:
            return fail(refusal)
        answer = self._database.write_once(
            "apply", uploads.apply, tuple(possible), racing=True
        )
        fids = [one.fid for one in possible if isinstance(one, Closing)]
        return answer.addCallback(self._closed, *fids)

    def _closed(self, outcome: T, *fids: int) -> T:
        for fid in fids:
            self._stock.closed(fid)
        return outcome

    def forget_domain(self, dmid: int) -> None:
        """A domain is gone, and its number may soon be that of another one."""
        self._stock.drop(dmid)

    def forget_drawn(self) -> None:
        """What was drawn ahead may be too low."""
        self._stock.drop()

    # --- changing

    def delete(self, dmid: int, key: str) -> Deferred[bool]:
        """See `IFiles.delete`."""
        try:
            if not self._may_exist(key):
                return succeed(False)
        except ValueRefused as refusal:
            return fail(refusal)
        return self._delete.ask((dmid, key))

    def rename(self, dmid: int, old: str, new: str) -> Deferred[None]:
        """See `IFiles.rename`."""
        try:
            if not self._may_exist(old):
                raise UnknownKey
            self._refuse_key(new)
        except KoboldError as refusal:
            return fail(refusal)
        return self._database.write_once("rename", look.rename, dmid, old, new)

    def set_class(self, fid: int, classid: int) -> Deferred[bool]:
        """See `IFiles.set_class`."""
        if not _possible(fid):
            return succeed(False)
        try:
            refuse_unfit(file, {"classid": classid})
        except ValueRefused as refusal:
            return fail(refusal)
        return self._database.write("set_class", look.set_class, fid, classid)

    # --- limits

    def _may_exist(self, key: str) -> bool:
        if "\0" in key:
            return False
        refuse_unfit_text(key)
        return len(key) <= self._database.estate.key_bytes

    def _refuse_key(self, key: str) -> None:
        refuse_unfit_text(key)
        if not self._may_exist(key):
            limit = self._database.estate.key_bytes
            raise ValueRefused(f"The key is longer than {limit} bytes")

    def _refuse_closing(self, closing: Closing) -> None:
        self._refuse_key(closing.key)
        row = {"dmid": closing.dmid, "classid": closing.classid}
        refuse_unfit(file, row | {"fid": closing.fid, "length": closing.length})


def _possible(fid: int) -> bool:
    return 0 < fid <= MAX_FID
