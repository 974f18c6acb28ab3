"""The session that README prints, run as it stands there."""

from __future__ import annotations

import doctest
import re
from typing import Any

from test.functional.case import FunctionalCase
from test.functional.cluster import ROOT

#: README's ports, which a test may not rely on, and the address they are on.
NATIVE, STORAGE = "127.0.0.1:9876", "127.0.0.1:7500"
#: Which device gets a file is the cluster's to choose.
ANY_DEVICE = re.compile(r"/dev\d+/0/000/000/\d+\.fid")


class AnyPlace(doctest.OutputChecker):
    """Takes one URL of a copy for another, but nothing else."""

    def check_output(self, want: str, got: str, flags: int) -> bool:
        """Whether they are the same but for where the copy lies."""
        same = re.compile(r"http://127\.0\.0\.\d+:\d+" + ANY_DEVICE.pattern)
        return super().check_output(same.sub("URL", want), same.sub("URL", got), flags)


class Session:
    """README's session; run on each kind of database."""

    def test_readme(self: Any) -> None:
        """Every line of the session gives what README says it does."""
        cluster = self.cluster(self.size)
        text = (ROOT / "README").read_text("utf-8")
        servers = "', '".join(cluster.servers())
        text = text.replace(NATIVE, servers)
        session = doctest.DocTestParser().get_doctest(text, {}, "README", "README", 0)
        self.assertGreater(len(session.examples), 10)
        said: list[str] = []
        runner = doctest.DocTestRunner(checker=AnyPlace(), verbose=False)
        failed, _ = runner.run(session, out=said.append)
        self.assertEqual(failed, 0, "".join(said))


class OnSQLite(Session, FunctionalCase):
    """README's own case: one node."""

    database = "sqlite"
    size = 1


class OnPostgreSQL(Session, FunctionalCase):
    """Three nodes, any of which may answer."""

    database = "postgresql"
    size = 3
