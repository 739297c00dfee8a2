"""How long a request has waited in the kernel, for a node that was paused, say."""

import asyncio
import socket
import struct

_LAST_DATA, _LAST_DATA_AT = struct.Struct("=I"), 52
"""tcpi_last_data_recv of Linux' struct tcp_info."""
_USUAL_MS = 50
"""Less than this counts as nothing: the kernel counts in steps of some ms, and a later connection
must not seem to be the earlier one."""


def waited_ms(transport: asyncio.BaseTransport | None) -> int:
    """How long ago the last data of a TCP connection came, in ms."""
    connected = transport.get_extra_info("socket") if transport is not None else None
    if connected is None:
        return 0
    info = connected.getsockopt(
        socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA_AT + _LAST_DATA.size
    )
    waited: int = _LAST_DATA.unpack_from(info, _LAST_DATA_AT)[0]
    return waited if waited > _USUAL_MS else 0
