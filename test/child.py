"""Runs some of the suite with trial, and keeps a journal of it for `test.run`.

    python -W error -m test.child JOURNAL FOLDER NAME ...
    python -W error -m test.child JOURNAL FOLDER --front MODULES
    python -W error -m test.child JOURNAL FOLDER --back MODULES

The latter take modules from a folder that they share with others (`test.rounds`), from
its front or its back, until there is none.

The journal has one JSON object a line: ``{"test": id, "event": "begins"}``, later the
same test with ``passed``, ``failed`` or ``skipped``; the last line says ``done``. A
test may fail twice (in its body and by a warning it left behind); the reader counts
it once.

A warning is an error here, but for those of `EXCUSED`.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from twisted.trial import itrial, reporter, runner, unittest

from test import rounds
from test.remains import throw_away

#: (category, beginning of the message, why): warnings of other people's code that we
#: can do nothing about. Keep it short; each goes when its cause does.
EXCUSED: tuple[tuple[type[Warning], str, str], ...] = ()


class JournalReporter(reporter.Reporter):
    """Trial's own reporter, which also writes the journal."""

    journal: Any = None
    _began: float | None = None

    def startTest(self, test: Any) -> None:
        """Note the beginning."""
        super().startTest(test)
        self._began = time.monotonic()
        self._note(test, "begins")

    def stopTest(self, test: Any) -> None:
        """Forget the time at which it began."""
        super().stopTest(test)
        self._began = None

    def addSuccess(self, test: Any) -> None:
        """Note a test that passed."""
        super().addSuccess(test)
        self._note(test, "passed")

    def addFailure(self, test: Any, fail: Any) -> None:
        """Note a test whose assertion did not hold."""
        super().addFailure(test, fail)
        self._note(test, "failed")

    def addError(self, test: Any, error: Any) -> None:
        """Note a test that broke, or a module that could not be imported."""
        super().addError(test, error)
        self._note(test, "failed")

    def addSkip(self, test: Any, reason: Any) -> None:
        """Note a test that did not run, and why."""
        super().addSkip(test, reason)
        self._note(test, "skipped", str(reason))

    def addExpectedFailure(self, test: Any, error: Any, todo: Any = None) -> None:
        """A test that is known to fail proves nothing: it counts as skipped."""
        super().addExpectedFailure(test, error, todo)
        self._note(test, "skipped", f"known to fail: {getattr(todo, 'reason', '')}")

    def addUnexpectedSuccess(self, test: Any, todo: Any = None) -> None:
        """A test that should have failed and did not has failed."""
        super().addUnexpectedSuccess(test, todo)
        self._note(test, "failed")

    def _note(self, test: Any, event: str, reason: str = "") -> None:
        entry = {"test": test.id(), "event": event, "reason": reason}
        if event != "begins" and self._began is not None:
            entry["seconds"] = time.monotonic() - self._began
        self.journal.write(json.dumps(entry) + "\n")
        self.journal.flush()


class Taking(runner.TestSuite):  # type: ignore[misc]
    """Loads a module when its turn comes, and runs it."""

    def __init__(self, modules: Iterable[str]) -> None:
        super().__init__()
        self._modules = modules

    def run(self, result: Any, debug: bool = False) -> Any:
        """All modules that come."""
        for name in self._modules:
            suite = runner.TestLoader().loadByNames([name], recurse=True)
            unittest.decorate(suite, itrial.ITestCase)(result)
            # What a module left behind says its last words now, and the first test of
            # the next one fails by them; else it would be any test, now and then.
            del suite
            throw_away()
        return result


def _suite(names: list[str]) -> Any:
    if names[0] in ("--front", "--back"):
        return Taking(rounds.taken(Path(names[1]), names[0] == "--back"))
    return runner.TestLoader().loadByNames(names, recurse=True)


def main(arguments: list[str]) -> int:
    """Run the tests named; returns the exit status."""
    journal, folder, *names = arguments
    # Else hypothesis leaves notes in the source tree, with paths of this machine.
    notes = os.path.join(os.path.dirname(journal), "hypothesis")
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = notes
    faulthandler.register(signal.SIGUSR1)
    for category, message, _why in EXCUSED:
        warnings.filterwarnings("ignore", message=message, category=category)
    suite = _suite(names)
    with open(journal, "a", encoding="utf-8") as stream:
        JournalReporter.journal = stream
        trial = runner.TrialRunner(JournalReporter, workingDirectory=folder)
        result = trial.run(suite)
        stream.write(json.dumps({"test": "", "event": "done"}) + "\n")
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
