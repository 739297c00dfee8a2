"""The SDK's client on a network that a test can look at and break."""

import asyncio
from typing import Any

from messenger_sdk import Client
from messenger_sdk.aiohttp_dialer import AiohttpDialer, AiohttpLink


class Network(AiohttpDialer):
    """A Dialer of real links."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        """No gateway can be reached."""
        self._link: AiohttpLink | None = None

    async def dial(self, url: str) -> AiohttpLink:
        if self.away:
            raise ConnectionRefusedError("the network is away")
        self._link = await super().dial(url)
        return self._link

    @property
    def transport(self) -> asyncio.Transport:
        """Of the last link."""
        assert self._link is not None
        connection = self._link._socket._response.connection
        if connection is None or not isinstance(connection.transport, asyncio.Transport):
            raise ConnectionError("the link has ended")
        return connection.transport

    def abort(self) -> None:
        """The last link breaks, without a word."""
        if self._link is not None and self._link._socket._response.connection is not None:
            self.transport.abort()

    @property
    def port(self) -> int:
        """Of the gateway."""
        return int(self.transport.get_extra_info("peername")[1])


class BreakableClient(Client):
    """`network` is its own."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.network = Network()
        super().__init__(*arguments, dialer=self.network, **options)
