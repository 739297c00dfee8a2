"""The conversations of a user with their last messages, as a gateway lists them."""

import msgspec
from aiohttp import ClientError, ClientSession, ClientTimeout

from ops.trust import trusted
from schemas import frames

_SECONDS = 10.0


class Listed(msgspec.Struct):
    """`last`: the last message, None if it is not kept."""

    conversation: str
    seq: int
    last: frames.Message | None


class _Answer(msgspec.Struct):
    conversations: list[Listed]


async def list_conversations(url: str, token: str) -> list[Listed]:
    """The 50 that were written in last. Raises ConnectionError."""
    try:
        async with (
            ClientSession(timeout=ClientTimeout(_SECONDS)) as http,
            http.get(
                f"{url}/v1/conversations",
                headers={"Authorization": f"Bearer {token}"},
                ssl=trusted(),
            ) as answer,
        ):
            answer.raise_for_status()
            return msgspec.json.decode(await answer.read(), type=_Answer).conversations
    except (ClientError, TimeoutError, msgspec.MsgspecError) as error:
        raise ConnectionError(f"{url}: {error}") from error
