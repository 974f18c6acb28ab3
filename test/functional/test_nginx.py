"""nginx hands out files straight from a node's docroot, configured as README says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from twisted.trial.unittest import SkipTest

from test.functional.case import FunctionalCase
from test.functional.cluster import DOMAIN, ROOT, Cluster, environment, wait_until
from test.functional.ports import free_port
from test.functional.tracker_line import get, put

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/sbin")
MISSING = "nginx is missing: apt-get install nginx-light"
STOP_SECONDS = 10.0
COMMAND_SECONDS = 30.0

SURROUNDINGS = """\
daemon off; master_process off; worker_processes 1;
pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{server}
}}
"""


def readme_server(port: int, docroot: Path) -> str:
    """The server block that README prints, with our port and folder."""
    text = (ROOT / "README").read_text("utf-8")
    found = re.search(r"^    server \{\n.*?^    \}\n", text, re.DOTALL | re.MULTILINE)
    assert found is not None, "README shows no server block"
    block = textwrap.dedent(found[0])
    block = block.replace("listen 8080;", f"listen 127.0.0.1:{port};")
    return block.replace("/var/lib/koboldfs/devices", str(docroot))


def readme_command(port: int) -> list[str]:
    """The command by which README sends readers there, with our host and port."""
    text = (ROOT / "README").read_text("utf-8")
    found = re.search(r"^    koboldfs (admin host .*--get-port) 8080$", text, re.M)
    assert found is not None, "README shows no command"
    assert "HOST" in found[1], "README names no host"
    return [*found[1].replace("HOST", "node1").split(), str(port)]


class Nginx(FunctionalCase):
    """The web server beside the node, on its ``http_get_port``."""

    def serve(self, cluster: Cluster) -> tuple[int, Path]:
        """Start nginx on the first node's docroot; returns its port and log."""
        if NGINX is None:
            raise SkipTest(MISSING)
        folder = self.temporary_folder()
        port = free_port("127.0.0.1")
        docroot = cluster.nodes[0].folder / "data" / "devices"
        for path in (cluster.folder, folder):
            path.chmod(0o755)
        server = readme_server(port, docroot)
        config = folder / "nginx.conf"
        config.write_text(SURROUNDINGS.format(folder=folder, server=server))
        command = [NGINX, "-p", str(folder), "-c", str(config)]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)

        def end() -> None:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

        self.addCleanup(end)
        return port, folder / "access.log"

    def command(self, cluster: Cluster, words: list[str]) -> None:
        """Run ``koboldfs WORDS``, which must succeed."""
        first = cluster.nodes[0]
        trackers = f"{first.address}:{first.ports.tracker}"
        program = "from koboldfs.cli.main import main; main()"
        ended = subprocess.run(
            [sys.executable, "-c", program, *words],
            env={**environment(), "KOBOLDFS_TRACKERS": trackers},
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
        )
        self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)

    def test_get_port(self) -> None:
        """Readers are sent to nginx, which gives the bytes; writers are not."""
        cluster = self.cluster(1)
        port, log = self.serve(cluster)
        content = bytes(range(256)) * 300
        with cluster.tracker() as tracker:
            tracker.store(DOMAIN, "served", content)
            self.command(cluster, readme_command(port))

            def sent_there() -> bool:
                path = tracker.paths(DOMAIN, "served")[0]
                return urlsplit(path).port == port

            wait_until(sent_there, 10.0, "paths name nginx's port")
            path = tracker.paths(DOMAIN, "served")[0]
            wait_until(lambda: get(path) == content, 10.0, "nginx serves the file")
            self.assertIn("GET /dev1/", log.read_text())
            tracker.store(DOMAIN, "after", b"still stored through the node")
            self.assertEqual(tracker.fetch(DOMAIN, "after")[:5], b"still")
            self.assertRaises(OSError, put, path, b"not through nginx")
            self.assertEqual(get(path), content)
            base = path[: path.index("/dev1/") + len("/dev1/")]
            for hidden in (
                path.replace(".fid", ".fid.tmp"),
                base,
                base + ".koboldfs-device",
                base + ".koboldfs/tmp/",
                base + ".koboldfs/usage.new",
            ):
                self.assertRaises(OSError, get, hidden)
            request = Request(path, headers={"Range": "bytes=256-258"})
            with urlopen(request, timeout=10) as answer:
                self.assertEqual((answer.status, answer.read()), (206, b"\0\1\2"))
            with urlopen(Request(path, method="HEAD"), timeout=10) as answer:
                self.assertEqual(int(answer.headers["Content-Length"]), len(content))
            # What a tracker of MogileFS looks at on this port.
            self.assertIn(b"\ntotal: ", get(base + "usage"))
            written = urlsplit(base)._replace(
                netloc=f"127.0.0.1:{cluster.ports.storage}"
            )
            put(written.geturl() + "test-write/test-write-7", b"time=1 rand=7")
            self.assertEqual(get(base + "test-write/test-write-7"), b"time=1 rand=7")
            # Whether copies are there is asked of the node, also after a restart.
            verified = tracker.ask("get_paths", domain=DOMAIN, key="served")
            self.assertEqual(urlsplit(verified["path1"]).port, port)
        cluster.nodes[0].stop()
        cluster.nodes[0].start()
        cluster.wait_ready()
        with cluster.tracker() as tracker:
            tracker.store(DOMAIN, "restarted", content)
            self.assertEqual(tracker.fetch(DOMAIN, "restarted"), content)

    def test_still_writable(self) -> None:
        """With the files served elsewhere the device stays writable for trackers."""
        cluster = self.cluster(1)
        port, _ = self.serve(cluster)
        with cluster.tracker() as tracker:
            tracker.ask("update_host", host="node1", getport=port)
        time.sleep(6.0)
        cluster.wait_ready(10.0)
