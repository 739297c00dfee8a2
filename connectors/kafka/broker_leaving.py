"""Telling Kafka's controllers that a broker is dead, so that others lead at once."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

from aiokafka.conn import create_conn
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import CompactString, Int16, Int32, Schema, TaggedFields

from connectors.kafka.address import KafkaAddress
from connectors.kafka.ports import KafkaUnreachable

_SECONDS = 5.0
"""Controllers elect another one in 1 to 2.5 s if the dead broker had the active one."""
_ANSWER_SECONDS = 1.0
_LOOK_SECONDS = 0.1
_UNKNOWN = 102
"""Kafka does not know the broker (any more)."""


class _Unregistered(Response):  # type: ignore[misc]
    API_KEY = 64
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("error_message", CompactString("utf-8")),
        ("tags", TaggedFields),
    )


class _UnregisterBroker(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY = 64
    API_VERSION = 0
    RESPONSE_TYPE = _Unregistered
    SCHEMA = Schema(("broker", Int32), ("tags", TaggedFields))


class _Unregister(Request[_UnregisterBroker]):  # type: ignore[misc]
    API_KEY = 64

    def __init__(self, broker: int) -> None:
        self._broker = broker

    def build(self, request_struct_class: type[_UnregisterBroker]) -> _UnregisterBroker:
        return request_struct_class(self._broker, {})


async def unregister(broker: int, controllers: Collection[tuple[str, int]], kafka: str) -> bool:
    """Let Kafka forget a broker whose process has ended: nobody waits for its session, and it
    registers anew when it starts, which it must not do before this returns. `controllers` are those
    of the others; `kafka` says how to log in, as MESSENGER_KAFKA does. Returns whether Kafka knew
    the broker. Raises KafkaUnreachable.

    It asks the controllers and no broker: a broker would keep the request until there is an active
    controller, and then it could hit the process that has been started meanwhile.

    It is made for three controllers. There one that refuses the connection is the second that is
    gone: nobody can decide anything, so it gives up at once. Of five, three could still decide.
    """
    login = KafkaAddress.parse(kafka).aiokafka()
    login.pop("bootstrap_servers")
    if login:
        login["sasl_mechanism"] = "PLAIN"  # as controllers speak among themselves
    problem = "no controller is active"
    try:
        async with asyncio.timeout(_SECONDS):
            while True:
                for host, port in controllers:
                    try:
                        return await _ask(host, port, login, broker)
                    except KafkaError as error:  # that controller is not the active one
                        problem = str(error)
                    except TimeoutError:  # or it is busy: the next look finds out
                        problem = f"the controller at {host}:{port} does not answer"
                await asyncio.sleep(_LOOK_SECONDS)
    except OSError as error:  # a second one is away: nobody can decide anything
        raise KafkaUnreachable(str(error) or problem) from None


async def _ask(host: str, port: int, login: Mapping[str, Any], broker: int) -> bool:
    connection = await create_conn(
        host, port, request_timeout_ms=int(_ANSWER_SECONDS * 1000), **login
    )
    try:
        answer = await connection.send(_Unregister(broker))
    finally:
        connection.close()
    if answer.error_code not in (0, _UNKNOWN):
        raise for_code(answer.error_code)(answer.error_message)
    return bool(answer.error_code == 0)
