"""The commands that work on a file's single copies: edit_file and httpcopy."""

from __future__ import annotations

from koboldfs import errors
from koboldfs.tracker.call import Call, Pairs, Services, TrackerCommand, needed


async def edit_file(services: Services, call: Call) -> Pairs:
    """Begin an upload with the bytes of a file's copy.

    OK: `oldpath`, `newpath` (to be MOVEd by the client), `fid`, `devid`, `class` (its
    number). Errors: `no_key`, `unknown_key`, `failure` (no other copy can be read).
    """
    domain = await services.namespace.known_domain(call.arguments.get("domain"))
    edit = await services.by_hand.edit(domain, call.required("key", errors.NoKey))
    view = services.view

    def url(fid: int) -> str | None:
        return view.url(
            edit.devid, fid, client_ip=call.client_ip, alt=call.alt, put=True
        )

    return [
        ("oldpath", url(edit.old_fid)),
        ("newpath", url(edit.fid)),
        ("fid", edit.fid),
        ("devid", edit.devid),
        ("class", edit.classid),
    ]


async def httpcopy(services: Services, call: Call) -> Pairs:
    """Copy a file from one device to another. OK: nothing. Errors: `copy_err`,
    `failure` (a file or device that is not there)."""
    fid, source, target = (
        call.whole_number(name) or 0 for name in ("fid", "sdevid", "ddevid")
    )
    await services.by_hand.copy(fid, source, target)
    return []


HAND_COMMANDS = (
    TrackerCommand(
        "edit_file",
        edit_file,
        (
            needed("domain", "the name space of the key"),
            needed("key", "the name of the file"),
        ),
    ),
    TrackerCommand(
        "httpcopy",
        httpcopy,
        (
            needed("sdevid", "the device that has it"),
            needed("ddevid", "the device that shall have it"),
            needed("fid", "the file"),
        ),
    ),
)
