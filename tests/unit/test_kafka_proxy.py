"""The proxy that answers as a broker which wakes up, when a client speaks what it cannot read."""

import socket
import struct

import pytest

from tests.harness.kafka_proxy import KafkaProxy

_FIND_COORDINATOR, _VERSION = 10, 6


def ask(broker: socket.socket) -> None:
    request = struct.pack(">ihhi", 8, _FIND_COORDINATOR, _VERSION, 1)
    with (
        KafkaProxy(broker.getsockname()[1]) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port)) as client,
        broker.accept()[0] as handed_on,
    ):
        client.sendall(request)
        assert handed_on.recv(1) == b""


def test_a_version_that_it_cannot_change_is_named() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as broker,
        pytest.raises(AssertionError, match=r"API 10 in version 6, .* range\(0, 3\) only"),
    ):
        ask(broker)
