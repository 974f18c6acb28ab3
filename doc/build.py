"""Makes HTML of README and of the pages beside this file, and checks them on the way.

    python -m doc.build FOLDER

Ends with status 1 if a page is no good reStructuredText, or names a page or a file of
ours that is not there.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from docutils.core import publish_string
from docutils.utils import SystemMessage

ROOT = Path(__file__).resolve().parent.parent
#: From here on docutils' messages are errors: 2 is a warning.
STRICT_LEVEL = 2
#: Names of our files as they stand in a text.
REFERENCE = re.compile(r"(?<![\w/.])(?:doc|test|koboldfs|bench)/[\w./-]*\w")


def pages() -> list[Path]:
    """What is made into HTML."""
    found = [path for path in (ROOT / "doc").iterdir() if path.suffix == ""]
    readme = [ROOT / name for name in ("README", "CHANGES")]
    return readme + sorted(path for path in found if path.is_file())


def missing(text: str) -> list[str]:
    """The files of ours that a text names and that are not there.

    Words in capitals stand for something else, as in ``koboldfs/ROOM/NAME.py``.
    """
    names = (
        name for name in REFERENCE.findall(text) if not re.search("[A-Z]{2}", name)
    )
    return sorted({name for name in names if not (ROOT / name).exists()})


def main(arguments: list[str]) -> int:
    """Build; returns the exit status."""
    target = Path(arguments[0])
    target.mkdir(parents=True, exist_ok=True)
    settings = {"halt_level": STRICT_LEVEL, "report_level": STRICT_LEVEL}
    faults = 0
    for path in pages():
        text = path.read_text("utf-8")
        for name in missing(text):
            print(f"{path.relative_to(ROOT)}: there is no {name}")
            faults += 1
        try:
            html = publish_string(
                text, str(path), writer_name="html5", settings_overrides=settings
            )
        except SystemMessage:
            faults += 1  # docutils has told where and why
            continue
        (target / f"{path.name}.html").write_bytes(html)
    print(f"{len(pages())} pages in {target}/, {faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
