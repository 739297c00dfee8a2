"""Which servers' certificates `messenger` trusts: those that the machine does (SSL_CERT_FILE), and
those of the local stack."""

import asyncio
import os
import ssl
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ops.exits import UNREACHABLE, fail
from ops.local.home import DEFAULT_HOME

_SECONDS = 5.0


def trusted() -> ssl.SSLContext:
    """For connections to a gateway."""
    context = ssl.create_default_context()
    authority = Path(os.environ.get("MESSENGER_HOME", DEFAULT_HOME)) / "tls/ca.pem"
    if authority.exists():
        context.load_verify_locations(authority)
    return context


def open_page(request: urllib.request.Request | str, seconds: float) -> Any:
    """As `urllib.request.urlopen`. Ends the command with code 3 if the certificate is not
    trusted."""
    try:
        return urllib.request.urlopen(request, timeout=seconds, context=trusted())
    except OSError as error:
        url = request if isinstance(request, str) else request.full_url
        _end_if_distrusted(url, getattr(error, "reason", None))
        raise


async def require_trust(url: str) -> None:
    """End the command with code 3 if the certificate of a gateway is not trusted: a client that
    comes again and again would not say so."""
    server = urlsplit(url)
    if server.scheme != "https":
        return
    try:
        async with asyncio.timeout(_SECONDS):
            _, writer = await asyncio.open_connection(
                server.hostname, server.port or 443, ssl=trusted()
            )
        writer.close()
    except (OSError, TimeoutError) as error:
        _end_if_distrusted(url, error)


def _end_if_distrusted(url: str, error: object) -> None:
    if isinstance(error, ssl.SSLCertVerificationError):
        fail(
            f"{url}: its certificate is not trusted ({error.verify_message}). SSL_CERT_FILE names a"
            " PEM file with those to trust; MESSENGER_HOME a local stack, whose tls/ca.pem is one",
            UNREACHABLE,
        )
