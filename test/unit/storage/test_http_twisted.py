"""The HTTP door once more, with all requests read by twisted.web."""

from __future__ import annotations

from test.unit.storage import test_http


class Reading(test_http.Reading):
    """See there."""

    plain = False


class Writing(test_http.Writing):
    """See there."""

    plain = False


class Slow(test_http.Slow):
    """See there."""

    plain = False


class Defects(test_http.Defects):
    """See there."""

    plain = False
