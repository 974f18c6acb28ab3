"""Where a fid lies on a device, and how that is written in paths and URLs.

MogileFS's layout: the decimal fid, padded with zeros to ten digits ``ABBBCCCDDD``,
is ``/dev<N>/A/BBB/CCC/ABBBCCCDDD.fid``. A fid of more digits is not padded; its first
1 + 3 + 3 digits name the folders.
"""

from __future__ import annotations

import re

#: Fids and devids are at most 64-bit; 19 digits say all of them.
_PATH = re.compile(
    rb"/dev([1-9][0-9]{0,8})"
    rb"/(([0-9])/([0-9]{3})/([0-9]{3})/(\3\4\5[0-9]{3,12})\.fid)",
    re.ASCII,
)
MAX_FID = 2**63 - 1


def relative_path(fid: int) -> str:
    """The file's path below its device's folder."""
    digits = f"{fid:010d}"
    return f"{digits[0]}/{digits[1:4]}/{digits[4:7]}/{digits}.fid"


def uri(devid: int, fid: int) -> str:
    """The path in a URL, beginning with a slash."""
    digits = f"{fid:010d}"
    return f"/dev{devid}/{digits[0]}/{digits[1:4]}/{digits[4:7]}/{digits}.fid"


def parse_uri(path: bytes) -> tuple[int, int] | None:
    """The (devid, fid) that a raw request path names, or None.

    Only the one spelling that `uri` produces is accepted: no escapes, no empty or
    dotted segments, no query, no padding beyond ten digits.
    """
    found = parse_path(path)
    return None if found is None else found[:2]


def parse_path(path: bytes) -> tuple[int, int, str] | None:
    """As `parse_uri`, with the file's path below its device's folder."""
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    devid, relative, first, _, _, digits = match.groups()
    fid = int(digits)
    # More than ten digits are never padded.
    if not 1 <= fid <= MAX_FID or (first == b"0" and len(digits) > 10):
        return None
    return int(devid), fid, relative.decode("ascii")
