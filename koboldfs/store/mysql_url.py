"""What a ``mysql://`` URL says.

    mysql://user:password@host1:3306,host2:3306/database?option=value

Options: ``charset`` (that of the connection, see `mysql_link`), ``unix_socket``,
``ssl_ca``, ``ssl_cert``, ``ssl_key`` (paths of files), ``ssl_verify_cert`` and
``ssl_verify_identity`` (``true`` or ``false``).
"""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote

from attrs import field, frozen

PREFIX = "mysql://"
PORT = 3306
#: Character sets in which every byte of ours is sent as it is, and no part of a
#: character looks like a quote or a backslash.
CHARSETS = ("latin1", "utf8", "utf8mb3", "utf8mb4", "binary")

_FILES = ("ssl_ca", "ssl_cert", "ssl_key")
_SWITCHES = ("ssl_verify_cert", "ssl_verify_identity")


@frozen
class MysqlOptions:
    """Where the server is. `hosts` (address, port) are tried in turn; `tls` are
    options of PyMySQL."""

    hosts: tuple[tuple[str, int], ...]
    database: str
    user: str | None = None
    password: str = field(default="", repr=False)
    charset: str = CHARSETS[0]
    unix_socket: str | None = None
    tls: tuple[tuple[str, str | bool], ...] = ()


def mysql_options(url: str) -> MysqlOptions:
    """The options of a URL. Raises ValueError with a reason that tells no secret."""
    rest, _, query = url.removeprefix(PREFIX).partition("?")
    server, slash, database = rest.rpartition("/")
    account, _, hosts = server.rpartition("@")
    if "@" in account:
        raise ValueError("an @ in a password is %40")
    if not slash or not database:
        raise ValueError("it names no database")
    user, _, password = account.partition(":")
    options = _options(query)
    charset = options.pop("charset", CHARSETS[0])
    if charset not in CHARSETS:
        raise ValueError(f"its charset must be one of {', '.join(CHARSETS)}")
    socket = options.pop("unix_socket", None)
    return MysqlOptions(
        hosts=tuple(_host(one) for one in hosts.split(",")),
        database=unquote(database),
        user=unquote(user) or None,
        password=unquote(password),
        charset=charset,
        unix_socket=socket,
        tls=tuple((name, _value(name, text)) for name, text in options.items()),
    )


def _options(query: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    for name in options:
        if name not in ("charset", "unix_socket", *_FILES, *_SWITCHES):
            raise ValueError(f"there is no option {name!r}")
    return options


def _value(name: str, text: str) -> str | bool:
    if name in _FILES:
        return text
    if text not in ("true", "false"):
        raise ValueError(f"{name} must be true or false")
    return text == "true"


def _host(text: str) -> tuple[str, int]:
    """Of ``host``, ``host:port`` or ``[IPv6]:port``; empty is this machine."""
    name, colon, port = text.rpartition(":")
    if not colon or port.endswith("]"):
        name, port = text, str(PORT)
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError("a port must be a number")
    return unquote(name).strip("[]") or "127.0.0.1", int(port)
