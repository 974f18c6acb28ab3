"""URLs of MySQL."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.store.mysql_url import MysqlOptions, mysql_options


class Urls(SynchronousTestCase):
    """Parts and wholes."""

    def test_parts(self) -> None:
        """Every part has its place, percent-encoded or not."""
        for url, expected in (
            ("mysql:///db", MysqlOptions((("127.0.0.1", 3306),), "db")),
            (
                "mysql://u:p%40%2F:w@h1,h2:3307/d%20b?charset=utf8mb4",
                MysqlOptions(
                    (("h1", 3306), ("h2", 3307)), "d b", "u", "p@/:w", "utf8mb4"
                ),
            ),
            (
                "mysql://u@[::1]:3307,[fe80::2]/d",
                MysqlOptions((("::1", 3307), ("fe80::2", 3306)), "d", "u"),
            ),
            (
                "mysql://u@h/d?unix_socket=/run/a.sock&ssl_ca=/ca&ssl_verify_cert=true",
                MysqlOptions(
                    (("h", 3306),),
                    "d",
                    "u",
                    unix_socket="/run/a.sock",
                    tls=(("ssl_ca", "/ca"), ("ssl_verify_cert", True)),
                ),
            ),
        ):
            self.assertEqual(mysql_options(url), expected)

    def test_wrong(self) -> None:
        """What cannot be meant is refused, without a secret."""
        for url in (
            "mysql://u:secret@h",
            "mysql://u:secret@h/",
            "mysql://u:se@secret@h/d",
            "mysql://u:secret@h:port/d",
            "mysql://u:secret@h:0/d",
            "mysql://u:secret@h:70000/d",
            "mysql://u:secret@h/d?charset=gbk",
            "mysql://u:secret@h/d?no_such=1",
            "mysql://u:secret@h/d?ssl_verify_cert=1",
            "mysql://u:secret@h/d?charset",
        ):
            with self.assertRaises(ValueError, msg=url) as caught:
                mysql_options(url)
            self.assertNotIn("secret", str(caught.exception))

    def test_secret(self) -> None:
        """A password is not in what is logged of the options."""
        self.assertNotIn("hush", repr(mysql_options("mysql://u:hush@h/d")))
