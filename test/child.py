"""Runs some of the suite with trial, and keeps a journal of it for `test.run`.

    python -W error -m test.child JOURNAL FOLDER NAME ...

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
from typing import Any

from twisted.trial import reporter, runner

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


def main(arguments: list[str]) -> int:
    """Run the tests named; returns the exit status."""
    journal, folder, *names = arguments
    # Else hypothesis leaves notes in the source tree, with paths of this machine.
    notes = os.path.join(os.path.dirname(journal), "hypothesis")
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = notes
    faulthandler.register(signal.SIGUSR1)
    for category, message, _why in EXCUSED:
        warnings.filterwarnings("ignore", message=message, category=category)
    loader = runner.TestLoader()
    suite = loader.loadByNames(names, recurse=True)
    with open(journal, "a", encoding="utf-8") as stream:
        JournalReporter.journal = stream
        trial = runner.TrialRunner(JournalReporter, workingDirectory=folder)
        result = trial.run(suite)
        stream.write(json.dumps({"test": "", "event": "done"}) + "\n")
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
