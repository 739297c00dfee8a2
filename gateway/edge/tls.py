"""TLS of devices' connections."""

import asyncio

HANDSHAKE_SECONDS = 10.0
"""A connection whose handshake has not ended by then is closed."""


def half_closes(transport: asyncio.BaseTransport) -> bool:
    """Whether a connection may stay open when its other end has nothing more to send. TLS ends both
    directions."""
    return transport.get_extra_info("sslcontext") is None
