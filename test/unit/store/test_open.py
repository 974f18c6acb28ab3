"""From URLs to stores."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from koboldfs.errors import ConfigError
from koboldfs.interfaces import IFiles, IQueues, ITopology
from koboldfs.store.open import (
    _libpq_options,
    _sqlite_path,
    open_reader,
    open_store,
    shown_url,
)


class Urls(SynchronousTestCase):
    """What may be said."""

    def test_sqlite(self) -> None:
        """Three slashes and a path; four for one from the root."""
        for url, path in (
            ("sqlite:///data/k.db", "data/k.db"),
            ("sqlite:////var/lib/k.db", "/var/lib/k.db"),
            ("sqlite:///with%20blank.db", "with blank.db"),
        ):
            self.assertEqual(_sqlite_path(url), path)

    def test_postgresql(self) -> None:
        """libpq's own rules, with several hosts."""
        options = _libpq_options("postgresql://u:p%40w@h1:1,h2:2/db?sslmode=disable")
        self.assertEqual((options["user"], options["password"]), ("u", "p@w"))
        self.assertEqual((options["host"], options["port"]), ("h1,h2", "1,2"))
        self.assertEqual((options["dbname"], options["sslmode"]), ("db", "disable"))

    def test_wrong(self) -> None:
        """One line that names the option, and no password."""
        for url in (
            "",
            "sqlite",
            "sqlite://",
            "sqlite:///",
            "sqlite:///:memory:",
            "sqlite://host/x",
            "sqlite:///x?mode=ro",
            "mysql://u:secret@h",
            "mysql://u:half@secret@h/db",
            "mysql://u:secret@h/db?no_such=1",
            "oracle://u:secret@h/db",
            "postgresql://u:secret@h:port/db",
            "postgresql://u:secret@h/db?no_such_option=1",
            "postgresql://u:secret@h:1,i:2,j:3/db?host=a,b",
            "postgresql://u:secret@h:70000/db",
            "postgresql://u:secret%zz@h/db",
            "postgresql://u:half@secret@h/db",
            "postgresql://h/db?password=secret&no_such_option=1",
        ):
            for opened in (lambda url: open_store(url, Clock()), open_reader):
                with self.assertRaises(ConfigError, msg=url) as caught:
                    opened(url)
                message = caught.exception.message
                self.assertIn("--database", message)
                self.assertNotIn("\n", message)
                self.assertNotIn("secret", message)

    def test_shown(self) -> None:
        """What is shown of a URL says where a password belongs, and not which."""
        for url, shown in (
            ("postgresql://u:pw@h:1,i:2/d", "postgresql://u:PASSWORD@h:1,i:2/d"),
            ("postgresql://u:p@w@h/d", "postgresql://u:PASSWORD@h/d"),
            ("postgresql://h/d?user=u&password=pw&a=b", None),
            ("postgresql://u@h/d", "postgresql://u@h/d"),
            ("sqlite:////var/lib/k.db", "sqlite:////var/lib/k.db"),
        ):
            if shown is None:
                shown = url.replace("=pw", "=PASSWORD")
            self.assertEqual(shown_url(url), shown)


class Stores(SynchronousTestCase):
    """Before the start."""

    def test_ports(self) -> None:
        """The three ports are there; nothing has been opened yet."""
        for url, engine in (
            ("sqlite:///no/such/folder/k.db", "sqlite"),
            ("postgresql://nowhere.invalid/db", "postgresql"),
            ("mysql://nowhere.invalid/db", "mysql"),
        ):
            store = open_store(url, Clock())
            self.assertEqual(store.engine, engine)
            verifyObject(IFiles, store.files)
            verifyObject(ITopology, store.topology)
            verifyObject(IQueues, store.queues)
            self.assertFalse(store.made_by_mogilefs)
            self.assertEqual(store.key_bytes, 1024)
