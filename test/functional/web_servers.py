"""Web servers of Debian as storage nodes: nginx, lighttpd and Apache with DAV.

They are what MogileFS's storage daemon starts when it is told to (``server = nginx``
and so on); the usage file, which it keeps beside them, is written here once.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from attrs import define, field
from twisted.trial.unittest import SkipTest

from koboldfs.model.fid import relative_path
from test.functional.ports import free_port

STOP_SECONDS = 10.0
USAGE = "available: 9000000\ndevice: /dev/x\ntime: 1\ntotal: 10000000\nused: 1000000\n"

NGINX = """\
daemon off; master_process off; worker_processes 1;
pid {folder}/pid; error_log {folder}/error.log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen {address}:{port};
        root {docroot};
        client_max_body_size 0;
        location ~ ^/dev[0-9]+/ {{
            dav_methods put delete;
            create_full_put_path on;
        }}
    }}
}}
"""
LIGHTTPD = """\
server.document-root = "{docroot}"
server.bind = "{address}"
server.port = {port}
server.errorlog = "{folder}/error.log"
server.upload-dirs = ( "{folder}" )
server.modules = ( "mod_webdav" )
webdav.activate = "enable"
"""
APACHE = """\
ServerRoot {folder}
ServerName {address}
Listen {address}:{port}
PidFile {folder}/pid
ErrorLog {folder}/error.log
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule dav_module /usr/lib/apache2/modules/mod_dav.so
LoadModule dav_fs_module /usr/lib/apache2/modules/mod_dav_fs.so
User www-data
Group www-data
StartServers 1
DocumentRoot {docroot}
DavLockDB {folder}/locks
<Directory {docroot}>
    Dav On
    Require all granted
</Directory>
"""
#: Kind: program, how it is started, configuration, Debian packages.
KINDS: dict[str, tuple[str, tuple[str, ...], str, str]] = {
    "nginx": ("nginx", ("-p", "{folder}", "-c", "{config}"), NGINX, "nginx-light"),
    "lighttpd": (
        "lighttpd",
        ("-D", "-f", "{config}"),
        LIGHTTPD,
        "lighttpd lighttpd-mod-webdav",
    ),
    "apache": (
        "apache2",
        ("-DFOREGROUND", "-f", "{config}"),
        APACHE,
        "apache2-bin",
    ),
}


@define(eq=False)
class WebServer:
    """One server with one device. `start` may follow `stop`, on the same port."""

    kind: str
    address: str
    devid: int
    folder: Path = field(
        factory=lambda: Path(tempfile.mkdtemp(prefix="koboldfs-web-server-"))
    )
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def device(self) -> Path:
        """The folder of its device."""
        return self.folder / "docroot" / f"dev{self.devid}"

    def copy(self, fid: int) -> Path:
        """Where a copy lies."""
        return self.device / relative_path(fid)

    def start(self, *, usage: bool = True) -> None:
        """Start it; raises `SkipTest` if its program is not installed."""
        name, arguments, config, packages = KINDS[self.kind]
        program = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
        if program is None:
            raise SkipTest(f"{name} is missing: apt-get install {packages}")
        self.port = self.port or free_port(self.address)
        self.device.mkdir(parents=True, exist_ok=True)
        if usage:
            (self.device / "usage").write_text(USAGE)
        # Apache becomes another user when root starts it.
        for path in (self.folder, self.device):
            path.chmod(0o777)
        values = {
            "folder": self.folder,
            "docroot": self.folder / "docroot",
            "address": self.address,
            "port": self.port,
            "config": self.folder / "config",
        }
        (self.folder / "config").write_text(config.format(**values))
        words = [word.format(**values) for word in arguments]
        self.process = subprocess.Popen(
            [program, *words], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def stop(self) -> None:
        """End it, by its pid."""
        process, self.process = self.process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def remove(self) -> None:
        """End it and remove its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
