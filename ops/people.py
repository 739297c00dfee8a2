"""What the commands share by which a user decides about others."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from messenger_sdk import Client
from messenger_sdk.errors import ConnectionRefused, MessengerError
from ops.exits import FAILED, UNREACHABLE, fail
from ops.session import make_client

_SECONDS = 15.0


@contextlib.asynccontextmanager
async def online(user: str, url: str, token: str | None, device: str) -> AsyncIterator[Client]:
    """The user's client. Ends the command if the server cannot be reached, or refuses."""
    try:
        client = await make_client(user, url, token, device)
        async with asyncio.timeout(_SECONDS), client:
            await client.online()
            yield client
    except ConnectionRefused as error:
        fail(f"{url}: {error}", FAILED)
    except TimeoutError:
        fail(f"{url}: no answer within {_SECONDS:g} s", UNREACHABLE)
    except MessengerError as error:
        fail(str(error), FAILED)
