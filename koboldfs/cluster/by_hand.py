"""What is done to one file by hand: a copy made where an operator wants it, and a copy
given to a client to be edited in place (MogileFS's httpcopy and edit_file)."""

from __future__ import annotations

from attrs import frozen

from koboldfs import errors, job_errors
from koboldfs.cluster.namespace import Namespace
from koboldfs.interfaces import IQueues, ITasks
from koboldfs.model.entities import CopyChange, Domain

#: A file that gave a copy away gets another one unless its successor comes sooner.
EDITING_SECONDS = 600


@frozen
class Edit:
    """A copy that the client is to MOVE from the old fid's URL to the new one's."""

    old_fid: int
    fid: int
    devid: int
    classid: int


class ByHand:
    """See the module."""

    def __init__(self, namespace: Namespace, tasks: ITasks, queues: IQueues) -> None:
        self._namespace = namespace
        self._tasks = tasks
        self._queues = queues

    async def copy(self, fid: int, source: int, target: int) -> None:
        """Copy a file from one device to another. Raises `CopyFailed`, or `KoboldError`
        for a file or a device that is not there."""
        located = await self._namespace.files.find_fid(fid)
        view = self._namespace.live.view
        places = view.place(source), view.place(target)
        if located is None or places[0] is None or places[1] is None:
            raise errors.KoboldError()
        try:
            await self._namespace.copies.nodes.copy(
                places[0], places[1], fid, located.file.length, located.checksum
            )
        except (errors.CopyMissing, errors.CopyCorrupt) as error:
            raise job_errors.CopyFailed("src_error") from error
        except errors.NodeFault as error:
            raise job_errors.CopyFailed("dest_error") from error
        await self._tasks.change_copies([CopyChange(fid, (target,))])

    async def edit(self, domain: Domain, key: str) -> Edit:
        """Take a copy off a file for an upload that begins with its bytes.

        Raises `NoKey`, `UnknownKey`, and `NoSpareCopy` unless another copy can be
        read: should the upload never be closed, the file is as it was.
        """
        located = await self._namespace.locate(domain, key)
        view = self._namespace.live.view
        readable = [devid for devid in located.devids if view.readable(devid)]
        spare = [devid for devid in readable if view.may_delete_from(devid)]
        if len(readable) < 2 or not spare:
            raise job_errors.NoSpareCopy()
        devid, file = spare[0], located.file
        fid = await self._namespace.files.open_upload(
            domain.dmid, key, file.classid, [devid], None
        )
        keep = [one for one in readable if one != devid]
        if not await self._tasks.release_copy(file.fid, devid, keep):
            raise job_errors.NoSpareCopy()
        await self._queues.queue_replications([file.fid], EDITING_SECONDS)
        return Edit(file.fid, fid, devid, file.classid)
