"""Which hosts run our storage node, and the side channels to them."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from koboldfs.client.sidechannel import SideChannel
from koboldfs.model.entities import Host


class Channels:
    """What surveys have learned of hosts: the side channels, by address."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._channels: dict[tuple[str, int], SideChannel] = {}
        self._closing: set[Deferred[None]] = set()

    def of(self, host: Host) -> SideChannel | None:
        """The side channel of a host that is known to be ours, else None."""
        return self._channels.get((host.ip, host.http_port))

    def learn(self, host: Host, port: int) -> SideChannel:
        """The host said that its side channel listens on this port."""
        known = self.of(host)
        if known is not None and known.address == (host.ip, port):
            return known
        self.forget(host)
        channel = SideChannel(self._reactor, host.ip, port)
        self._channels[host.ip, host.http_port] = channel
        return channel

    def forget(self, host: Host) -> None:
        """The host does not answer as ours any more."""
        channel = self._channels.pop((host.ip, host.http_port), None)
        if channel is not None:
            self._close(channel)

    async def stop(self) -> None:
        """Close all channels."""
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            self._close(channel)
        await gatherResults(list(self._closing))

    def _close(self, channel: SideChannel) -> None:
        closing = channel.stop()
        self._closing.add(closing)
        closing.addBoth(lambda _: self._closing.discard(closing))
