"""KoboldFS, an application-level distributed file system.

The public names are handed out lazily, so that ``import koboldfs`` in a client loads
neither Twisted nor a database driver.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from koboldfs.version import __version__ as __version__

__all__ = ["Client", "ClientError", "ClientPool", "TransactionalClientPool"]

if TYPE_CHECKING:
    from koboldfs.native_client import (
        Client,
        ClientError,
        ClientPool,
        TransactionalClientPool,
    )


def __getattr__(name: str) -> object:
    if name in __all__:
        from koboldfs import native_client

        return getattr(native_client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
