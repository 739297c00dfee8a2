"""Telling Kafka's groups that a member of theirs is dead, so that the others take over at once."""

import asyncio
from collections.abc import Collection

from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import KafkaError
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Int16, Int32, Schema, String

from connectors.kafka.address import KafkaAddress
from connectors.kafka.ports import KafkaUnreachable

_SECONDS = 2.0
"""After that the session of the dead member is over soon, too."""
_text = String("utf-8")


class _Left(Response):  # type: ignore[misc]
    API_KEY = 13
    API_VERSION = 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("members", Array(("id", _text), ("name", _text), ("error_code", Int16))),
    )


class _LeaveByName(RequestStruct):  # type: ignore[misc]
    """Version 3, the first that takes a member's name; aiokafka has none above 1."""

    API_KEY = 13
    API_VERSION = 3
    RESPONSE_TYPE = _Left
    SCHEMA = Schema(("group", _text), ("members", Array(("id", _text), ("name", _text))))


class _Leave(Request[_LeaveByName]):  # type: ignore[misc]
    API_KEY = 13

    def __init__(self, group: str, member: str) -> None:
        self._group = group
        self._member = member

    def build(self, request_struct_class: type[_LeaveByName]) -> _LeaveByName:
        return request_struct_class(self._group, [("", self._member)])


async def leave(servers: str, member: str, groups: Collection[str]) -> None:
    """Let a process that has ended leave these groups by its name in them. A group that does not
    know it stays as it is. Raises KafkaUnreachable.

    A process that lives, and is named here by mistake, joins again.
    """
    client = AIOKafkaClient(**KafkaAddress.parse(servers).aiokafka())
    try:
        async with asyncio.timeout(_SECONDS):
            await client.bootstrap()
            await asyncio.gather(*(_leave(client, group, member) for group in groups))
    except (KafkaError, TimeoutError) as error:
        raise KafkaUnreachable(str(error) or type(error).__name__) from None
    finally:
        await client.close()


async def _leave(client: AIOKafkaClient, group: str, member: str) -> None:
    coordinator = await client.coordinator_lookup(CoordinationType.GROUP, group)
    await client.send(coordinator, _Leave(group, member))
