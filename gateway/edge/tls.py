"""TLS of devices' connections."""

import asyncio


def half_closes(transport: asyncio.BaseTransport) -> bool:
    """Whether a connection may stay open when its other end has nothing more to send. TLS ends both
    directions."""
    return transport.get_extra_info("sslcontext") is None
