"""The commands of the scrub: `koboldfs.cluster.scrubbing` knows how it goes."""

from __future__ import annotations

from koboldfs import errors
from koboldfs.model.fid import MAX_FID
from koboldfs.tracker.call import Call, Pairs, Services, TrackerCommand, optional


async def scrub_status(services: Services, call: Call) -> Pairs:
    """How the scrub of every device that is not dead stands.

    OK: `count`, and for each `scrub_<i>_devid`, `_began`, `_ended` (Unix seconds, 0 for
    never), `_running`, `_position_percent`, and of the running pass, or else of the
    last one, `_files`, `_bytes`, `_bad`, `_mended`, `_missing`, `_orphans`, `_lost`.
    """
    scrubs = await services.scrubbing.status()
    pairs: Pairs = [("count", len(scrubs))]
    for index, one in enumerate(scrubs, 1):
        values = {
            "devid": one.devid,
            "began": one.began,
            "ended": one.ended,
            "running": int(one.running),
            "position_percent": one.percent(),
            "files": one.counts.files,
            "bytes": one.counts.size_bytes,
            "bad": one.counts.bad,
            "mended": one.counts.mended,
            "missing": one.counts.missing,
            "orphans": one.counts.orphans,
            "lost": one.counts.lost,
        }
        pairs += [(f"scrub_{index}_{name}", value) for name, value in values.items()]
    return pairs


async def scrub_start(services: Services, call: Call) -> Pairs:
    """Have a pass begin now, on a device or on all; where one is running, after it.

    OK: nothing. Errors: `no_device`.
    """
    devid = None
    if call.given("devid"):
        devid = call.whole_number("devid")
        if devid is None:
            raise errors.NoDevice()
    await services.scrubbing.start(devid)
    return []


async def scrub_lost(services: Services, call: Call) -> Pairs:
    """At most 100 files without a good copy, by fid, above `after`.

    OK: `count`, and for each `lost_<i>_fid`, `_domain`, `_key`, `_since`.
    """
    after = min(max(0, call.leading_number("after")), MAX_FID)
    found = await services.scrubbing.lost(after)
    pairs: Pairs = [("count", len(found))]
    for index, (one, domain) in enumerate(found, 1):
        pairs += [
            (f"lost_{index}_fid", one.file.fid),
            (f"lost_{index}_domain", domain),
            (f"lost_{index}_key", one.file.key),
            (f"lost_{index}_since", one.since),
        ]
    return pairs


SCRUB_COMMANDS = (
    TrackerCommand("scrub_status", scrub_status),
    TrackerCommand(
        "scrub_start", scrub_start, (optional("devid", "only this device"),)
    ),
    TrackerCommand(
        "scrub_lost", scrub_lost, (optional("after", "only files with a higher fid"),)
    ),
)
