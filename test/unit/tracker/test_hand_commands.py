"""edit_file and httpcopy, as MogileFS's trackers answer them."""

from __future__ import annotations

from test.unit.tracker.exchange import ExchangeCase


class Exchanges(ExchangeCase):
    """Requests and replies."""

    def test_httpcopy(self) -> None:
        """Ids that are missing or not there are a failure."""
        self.assert_errors(
            {
                "httpcopy": "failure",
                "httpcopy sdevid=1&ddevid=6&fid=77": "failure",
                "httpcopy sdevid=x&ddevid=6&fid=1": "failure",
            }
        )
        fid = self.city.store("k", b"data")
        found = self.city.done("file_info domain=d1&key=k&devices=1")
        others = [str(n) for n in range(1, 7) if str(n) != found["devids"]]
        line = f"httpcopy sdevid={others[0]}&ddevid={others[1]}&fid={fid}"
        self.assert_replies({line: "ERR copy_err src_error"})
        line = f"httpcopy sdevid={found['devids']}&ddevid={others[1]}&fid={fid}"
        self.assert_replies({line: "OK "})

    def test_edit_file(self) -> None:
        """The errors in their order; a file with one copy has none to spare."""
        self.city.store("k", b"data")
        self.assert_errors(
            {
                "edit_file": "no_domain",
                "edit_file domain=nix&key=k": "unreg_domain",
                "edit_file domain=d1": "no_key",
                "edit_file domain=d1&key=nokey": "unknown_key",
                "edit_file domain=d1&key=k": "failure",
            }
        )
