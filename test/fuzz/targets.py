"""All that is fuzzed, by name."""

from __future__ import annotations

from typing import Final

from test.fuzz import answers, http, native, native_client, side, tracker
from test.fuzz.target import Target

TARGETS: Final[dict[str, Target]] = {
    target.name: target
    for target in (
        tracker.LINES,
        tracker.DOOR,
        native.PARSER,
        native.FRAMES,
        native.DOOR,
        native_client.CLIENT,
        side.LINES,
        side.SERVER,
        side.CLIENT,
        http.DOOR,
        answers.NODE_HTTP,
        answers.FETCH,
    )
}
