"""TLS before the local stack's ClickHouse with SECURE=1. The engine in `chdb-core` cannot listen
for HTTPS ("clickhouse-local supports only TCP and HTTP listeners"); a real server can, and needs
none of this.

The engine listens on another port of loopback then, and answers there only requests that have the
front's word in a header, which is made anew at each start and leaves the process only on loopback.
"""

import asyncio
import os
import secrets
import socket
import ssl
import sys
import threading
from collections.abc import Coroutine
from pathlib import Path
from xml.etree import ElementTree

from aiohttp import ClientConnectionError, ClientSession, ClientTimeout, DummyCookieJar, hdrs, web

from connectors.tls import server_tls

_PORT, _WORD = "MESSENGER_CLICKHOUSE_PORT", "MESSENGER_CLICKHOUSE_FRONT_WORD"
_HEADER = "X-Messenger-Front"
_OWN = {hdrs.CONNECTION, hdrs.KEEP_ALIVE, hdrs.TRANSFER_ENCODING}
"""Headers of one connection, which are not handed on."""
_AUTOMATIC = (hdrs.USER_AGENT, hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.CONTENT_TYPE)


def put_before(config: Path) -> None:
    """If MESSENGER_CLICKHOUSE_CERTIFICATE and …_KEY name files, serve MESSENGER_CLICKHOUSE_PORT by
    TLS from now on, and let the engine, which will read `config`, listen elsewhere. If the front
    ends later, it ends the process with exit code 1. Raises ValueError, OSError."""
    tls = server_tls(
        os.environ.get("MESSENGER_CLICKHOUSE_CERTIFICATE", ""),
        os.environ.get("MESSENGER_CLICKHOUSE_KEY", ""),
    )
    if tls is None:
        return
    tree = ElementTree.parse(config)
    for rule in tree.iterfind("http_handlers/rule"):
        headers = rule.find("headers")
        if headers is not None and rule.findtext("handler/type") == "dynamic_query_handler":
            ElementTree.SubElement(headers, _HEADER, {"from_env": _WORD})
    tree.write(config)
    listening = socket.create_server(("127.0.0.1", int(os.environ[_PORT])))
    with socket.create_server(("127.0.0.1", 0)) as free:
        os.environ[_PORT] = str(free.getsockname()[1])
    os.environ[_WORD] = secrets.token_hex(32)
    front = _serve(listening, tls.context)
    threading.Thread(target=_own, args=(front,), daemon=True).start()


def word() -> dict[str, str]:
    """The header that the engine wants."""
    return {_HEADER: os.environ[_WORD]} if _WORD in os.environ else {}


def _own(front: Coroutine[None, None, None]) -> None:
    """Run the front until the process ends. Without it nobody reaches the engine, and a fresh
    process is the cure."""
    why = "it returned"
    try:
        asyncio.run(front)
    except BaseException as failure:
        why = repr(failure)
    print(f"clickhouse: TLS before it has ended by itself: {why}", file=sys.stderr, flush=True)
    os._exit(1)  # the other thread is in the engine; what was acknowledged is on disk


async def _serve(listening: socket.socket, tls: ssl.SSLContext) -> None:
    engine = f"http://127.0.0.1:{os.environ[_PORT]}"
    async with ClientSession(
        engine,
        auto_decompress=False,
        cookie_jar=DummyCookieJar(),
        skip_auto_headers=_AUTOMATIC,
        timeout=ClientTimeout(),  # a client gives up by itself
    ) as session:

        async def hand_on(request: web.Request) -> web.StreamResponse:
            headers = request.headers.copy()
            for name in _OWN:
                headers.popall(name, None)
            headers.update(word())
            body = request.content if request.body_exists else None
            try:
                asked = await session.request(
                    request.method, request.rel_url, headers=headers, data=body
                )
            except ClientConnectionError as error:
                # As a server that is away: with 500 a client would say that it was refused.
                raise web.HTTPServiceUnavailable(text=f"{error}\n") from None
            async with asked as found:
                answer = web.StreamResponse(status=found.status)
                answer.headers.extend(
                    (name, value) for name, value in found.headers.items() if name not in _OWN
                )
                await answer.prepare(request)
                async for some in found.content.iter_any():
                    await answer.write(some)
                await answer.write_eof()
                return answer

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", hand_on)
        runner = web.AppRunner(app, access_log=None, auto_decompress=False)
        await runner.setup()
        await web.SockSite(runner, listening, ssl_context=tls).start()
        await asyncio.Event().wait()
