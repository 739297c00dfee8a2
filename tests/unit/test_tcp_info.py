"""When a device came, by the kernel."""

import asyncio
import time

from gateway.edge.tcp_info import waited_ms


async def test_what_waited_while_the_process_was_paused_is_that_old() -> None:
    waited: asyncio.Queue[int] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            await reader.read(1)
            waited.put_nowait(waited_ms(writer.transport))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"1")
    time.sleep(0.5)  # noqa: ASYNC251 (the pause)
    assert 400 < await waited.get() < 5000
    writer.write(b"2")
    assert await waited.get() < 400, "the first has come long ago, the last just now"
    writer.close()
    server.close()
    await server.wait_closed()
    assert waited_ms(None) == 0
