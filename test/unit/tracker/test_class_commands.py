"""Domains and classes, on the real city hall."""

from __future__ import annotations

from koboldfs.errors import ValueRefused
from test.unit.tracker.exchange import ExchangeCase


class Domains(ExchangeCase):
    """Making, removing, showing."""

    def test_create(self) -> None:
        """A name, not there yet; case matters."""
        self.assert_errors(
            {
                "create_domain": "no_domain",
                "create_domain domain=": "no_domain",
                "create_domain domain=0": "no_domain",
                "create_domain domain=d1": "domain_exists",
            }
        )
        self.assert_replies(
            {
                "create_domain domain=D1": "OK domain=D1",
                "create_domain domain=D+2/x": "OK domain=D+2/x",
            }
        )
        self.assertEqual(self.city.done("get_domains")["domains"], "4")

    def test_refused(self) -> None:
        """What the database cannot hold is a failure."""
        self.city.database.failing["create_domain"] = [ValueRefused()]
        self.city.database.failing["create_class"] = [ValueRefused()]
        self.city.database.failing["update_class"] = [ValueRefused()]
        self.assert_errors(
            {
                "create_domain domain=x": "failure",
                "create_class domain=d1&class=x&mindevcount=40000": "failure",
                "update_class domain=d1&class=c1&mindevcount=40000": "failure",
            }
        )

    def test_delete(self) -> None:
        """Not one with files or classes; the class default does not count."""
        self.city.store("k", b"1")
        self.city.done("create_domain domain=d3")
        self.city.done("create_class domain=d3&class=default&mindevcount=4")
        self.assert_errors(
            {
                "delete_domain": "no_domain",
                "delete_domain domain=nodomain": "domain_not_found",
                "delete_domain domain=d1": "domain_has_files",
            }
        )
        self.city.done("delete domain=d1&key=k")
        self.assert_errors({"delete_domain domain=d1": "domain_has_classes"})
        self.assert_replies({"delete_domain domain=d3": "OK domain=d3"})

    def test_show(self) -> None:
        """Every domain has a class default, row or not."""
        self.city.done("set_server_setting key=kobold_policy&value=MultipleHosts%28%29")
        self.city.done(
            "create_class domain=d2&class=x&mindevcount=3&replpolicy=AllHosts()"
        )
        self.city.done("delete_class domain=d1&class=c1")
        policy = "replpolicy=MultipleHosts%28%29"
        self.assert_replies(
            {
                "get_domains": (
                    "OK domains=2&domain1=d1&domain1classes=2"
                    "&domain1class1name=default&domain1class1mindevcount=2"
                    f"&domain1class1{policy}&domain1class1hashtype=NONE"
                    "&domain1class2name=md5c&domain1class2mindevcount=2"
                    f"&domain1class2{policy}&domain1class2hashtype=MD5"
                    "&domain2=d2&domain2classes=2"
                    "&domain2class1name=default&domain2class1mindevcount=2"
                    f"&domain2class1{policy}&domain2class1hashtype=NONE"
                    "&domain2class2name=x&domain2class2mindevcount=3"
                    "&domain2class2replpolicy=AllHosts%28%29"
                    "&domain2class2hashtype=NONE"
                )
            }
        )


class Classes(ExchangeCase):
    """Making, changing, removing."""

    def row(self, name: str) -> tuple[int, str | None, int | None]:
        """mindevcount, policy and hashtype as recorded."""
        found = next(
            one for one in self.city.database.topology.classes if one.name == name
        )
        return found.mindevcount, found.policy, found.hashtype

    def test_order(self) -> None:
        """Domain, class, count, policy, hashtype, then what is there."""
        for command in ("create_class", "update_class", "create_class update=1&"):
            blank = "" if command.endswith("&") else " "
            start = f"{command}{blank}"
            bad = "mindevcount=2&replpolicy=Nope(2)&hashtype=CRC"
            self.assert_errors(
                {
                    start: "no_domain",
                    f"{start}domain=x": "no_class",
                    f"{start}domain=x&class=y": "invalid_mindevcount",
                    f"{start}domain=x&class=y&mindevcount=0": "invalid_mindevcount",
                    f"{start}domain=x&class=y&mindevcount=-2": "invalid_mindevcount",
                    f"{start}domain=x&class=y&mindevcount=x": "invalid_mindevcount",
                    f"{start}domain=x&class=y&{bad}": "invalid_replpolicy",
                    f"{start}domain=x&class=y&mindevcount=2&hashtype=CRC": (
                        "invalid_hashtype"
                    ),
                    f"{start}domain=x&class=y&mindevcount=2": "domain_not_found",
                }
            )
        self.assert_errors(
            {
                "create_class domain=d1&class=c1&mindevcount=2": "class_exists",
                "update_class domain=d1&class=nope&mindevcount=2": "class_not_found",
            }
        )

    def test_create(self) -> None:
        """Everything that may be given."""
        self.assert_replies(
            {
                "create_class domain=d1&class=x&mindevcount=3y&hashtype=SHA-1"
                "&replpolicy=Union(MultipleHosts(2),+MultipleDevices())": (
                    "OK domain=d1&class=x&mindevcount=3"
                ),
                "create_class domain=d1&class=y&mindevcount=1&hashtype=NONE": (
                    "OK domain=d1&class=y&mindevcount=1"
                ),
            }
        )
        policy = "Union(MultipleHosts(2), MultipleDevices())"
        self.assertEqual(self.row("x"), (3, policy, 2))
        self.assertEqual(self.row("y"), (1, None, None))

    def test_policy_text(self) -> None:
        """A policy that is not understood is told why."""
        reply = self.city.say(
            "create_class domain=d1&class=x&mindevcount=2&replpolicy=X"
        )
        self.assertRegex(reply, r"^ERR invalid_replpolicy \S{5,}$")

    def test_default(self) -> None:
        """Its row can be made once, and changed; with a row it exists."""
        self.assert_replies(
            {
                "update_class domain=d1&class=default&mindevcount=1": (
                    "OK domain=d1&class=default&mindevcount=1"
                )
            }
        )
        self.assertEqual(self.row("default"), (1, None, None))
        self.assert_errors(
            {"create_class domain=d1&class=default&mindevcount=2": "class_exists"}
        )

    def test_update_keeps(self) -> None:
        """What is not given, or empty, stays; NONE clears the hashtype."""
        start = "update_class domain=d1&class=md5c&mindevcount="
        for more, row in (
            ("3&replpolicy=MultipleHosts(2)", (3, "MultipleHosts(2)", 1)),
            ("4&replpolicy=&hashtype=", (4, "MultipleHosts(2)", 1)),
            ("4&hashtype=NONE", (4, "MultipleHosts(2)", None)),
            ("4&hashtype=SHA-1", (4, "MultipleHosts(2)", 2)),
            ("5&replpolicy=AllHosts()", (5, "AllHosts()", 2)),
        ):
            self.city.done(f"{start}{more}")
            self.assertEqual(self.row("md5c"), row, more)

    def test_delete(self) -> None:
        """default first; a missing class is one that is not found; not with files."""
        self.city.store("k", b"1", more="&class=c1")
        self.assert_errors(
            {
                "delete_class": "no_domain",
                "delete_class domain=nodomain&class=default": "nodel_default_class",
                "delete_class domain=nodomain&class=x": "domain_not_found",
                "delete_class domain=d1": "class_not_found",
                "delete_class domain=d1&class=x": "class_not_found",
                "delete_class domain=d1&class=c1": "class_has_files",
            }
        )
        self.city.done("delete domain=d1&key=k")
        self.assert_replies(
            {"delete_class domain=d1&class=c1": "OK domain=d1&class=c1"}
        )
