"""How a client connects, comes back, and stops."""

import asyncio
import itertools

import pytest

from messenger_sdk import (
    ClientClosed,
    Closed,
    ConnectionRefused,
    Link,
    MessengerError,
    StateChanged,
)
from messenger_sdk.reconnecting import Attempt, Gateways, Reconnecting
from schemas.codes import Close
from schemas.frames import Renew, TokenExpires
from tests.harness.fake_gateway import FakeGateway, Line, Script, eventually, sent
from tests.harness.virtual import virtual_time
from tests.sdk.devices import client, message, seqs, watched


@pytest.mark.parametrize(
    "close", [close for close in Close if not close.retry], ids=lambda close: close.name
)
@virtual_time
async def test_a_final_close_code_stops_the_client(close: Close) -> None:
    async def script(line: Line) -> None:
        await line.welcome()
        await line.sends(1)
        line.close(close.number)

    async with FakeGateway(script) as gateway, client(gateway) as device:
        sending = device.submit("bob", "hi")
        events = [event async for event in device]
        assert events[-1] == StateChanged("stopped", close.number)
        with pytest.raises(ConnectionRefused) as refused:
            await sending
        assert refused.value.code == close.number
        for again in (device.online(), device.send("bob", "more"), device.caught_up()):
            with pytest.raises(ConnectionRefused):
                await again
        await asyncio.sleep(60)
        assert gateway.connections == 1


@pytest.mark.parametrize(
    "code", [close.number for close in Close if close.retry] + [0, 1000, 1001, 1009, 1011, 3000]
)
@virtual_time
async def test_after_any_other_close_code_the_client_comes_back(code: int) -> None:
    async def script(line: Line) -> None:
        await line.welcome()
        (send,) = await line.sends(1)
        if line.number == 0:
            line.close(code)
        else:
            line.say(sent(send, 1))
            await line.stay()

    async with FakeGateway(script) as gateway, client(gateway) as device:
        assert (await device.send("bob", "hi")).seq == 1


@virtual_time
async def test_garbage_from_the_server_is_left_out_or_ends_the_connection() -> None:
    async def script(line: Line) -> None:
        await line.welcome()
        if line.number == 0:
            line.say_raw(b'{"t":"of-a-newer-server","x":1}\n{"t":"pong","id":1}')
            line.say(message(1))
            line.say_raw(b"this is not JSON")
            await line.stay()
        line.say(message(2))
        await line.stay()

    async with FakeGateway(script) as gateway, watched(client(gateway)) as events:
        await eventually(lambda: seqs(events) == [1, 2])


class Unreachable:
    """A network without a gateway."""

    def __init__(self) -> None:
        self.dialled: list[float] = []

    async def dial(self, url: str) -> Link:
        self.dialled.append(asyncio.get_running_loop().time())
        raise ConnectionRefusedError(url)


@virtual_time
async def test_a_gateway_that_cannot_be_reached_is_not_stormed() -> None:
    """It is tried again after 0.05, 0.1, 0.2, 0.4 s …, by the jitter of 0.5, and every 10 s at
    most."""
    network = Unreachable()
    async with client(network, jitter=0.5):
        await asyncio.sleep(100)
    waits = [after - before for before, after in itertools.pairwise(network.dialled)]
    assert waits[:4] == pytest.approx([0.05, 0.1, 0.2, 0.4])
    assert waits[-1] == pytest.approx(10)


@virtual_time
async def test_a_node_that_welcomes_and_drops_is_not_stormed() -> None:
    async def script(line: Line) -> None:
        await line.welcome()
        line.drop()

    async with FakeGateway(script) as gateway, client(gateway, jitter=0.99):
        await asyncio.sleep(1.0)
    assert gateway.connections == 4  # at 0, 0.1, 0.3 and 0.7 s


@virtual_time
async def test_a_node_that_never_welcomes_is_given_up() -> None:
    async def script(line: Line) -> None:
        await line.stay()

    async with FakeGateway(script) as gateway, client(gateway):
        await asyncio.sleep(25)
    assert gateway.connections == 3


@pytest.mark.parametrize("while_", ["online", "waiting", "connecting"])
@virtual_time
async def test_close_ends_everything_that_waits(while_: str) -> None:
    async def welcomes(line: Line) -> None:
        await line.welcome()
        await line.stay()

    async def drops(line: Line) -> None:
        line.drop()

    async def says_nothing(line: Line) -> None:
        await line.stay()

    scripts: dict[str, Script] = {"online": welcomes, "waiting": drops, "connecting": says_nothing}
    async with FakeGateway(scripts[while_]) as gateway, client(gateway, jitter=0.99) as device:
        sending, waiting = device.submit("bob", "hi"), asyncio.create_task(device.caught_up())
        asking = asyncio.create_task(device.history("alice:bob"))
        await eventually(lambda: device.state == while_)
        going_online = asyncio.create_task(device.online())
        await asyncio.sleep(0)
        await device.close()
        assert [event async for event in device][-1] == StateChanged("stopped", 0)
        assert device.state == "stopped"
        for ended in (sending, waiting, asking):
            with pytest.raises(ClientClosed):
                await ended
        if while_ != "online":
            with pytest.raises(ClientClosed):
                await going_online
        with pytest.raises(ClientClosed):
            await device.send("bob", "more")
        assert [event async for event in device] == []
        await device.close()  # once more does no harm


@virtual_time
async def test_a_redirect_is_followed_once_and_the_other_node_is_asked_to_keep_the_device() -> None:
    async def script(line: Line) -> None:
        await line.welcome()
        if line.number == 0:
            line.close(Close.REDIRECTED.number, "http://other:2")
        await line.stay()

    url = Gateways(["http://gateway"], ["other"])
    async with FakeGateway(script) as gateway, client(gateway, url=url) as device:
        await eventually(lambda: gateway.connections == 2 and device.state == "online")
        first, second = gateway.lines
        assert (first.url, first.stay_asked) == ("http://gateway/v1/socket", False)
        assert (second.url, second.stay_asked) == ("http://other:2/v1/socket", True)


@pytest.mark.parametrize(
    ("here", "there", "followed"),
    [
        ("http://a", "http://b", True),
        ("http://a", "https://b", True),
        ("https://a", "https://b", True),
        ("https://a", "http://b", False),
        ("wss://a", "ws://b", False),
        ("https://a", "ftp://b", False),
        ("https://a", "b:80", False),
        ("https://a", "", False),
    ],
)
def test_a_token_that_went_over_https_never_goes_over_http(
    here: str, there: str, followed: bool
) -> None:
    """A refused redirect counts as a close; the next attempt asks the node to keep the device."""
    gateways = Gateways([here], ["b"])
    reconnecting = Reconnecting(gateways, jitter=lambda: 0.5, renews=False)
    assert reconnecting.next() == Attempt(here, False)
    wait = reconnecting.ended(Closed(Close.REDIRECTED.number, there), 0.1)
    assert (wait == 0) == followed
    assert reconnecting.next() == (Attempt(there, True) if followed else Attempt(here, bool(there)))


def test_when_the_other_node_cannot_be_reached_the_first_is_asked_to_keep_the_device() -> None:
    gateways = Gateways(["http://a", "http://b"], ["gone"])
    reconnecting = Reconnecting(gateways, jitter=lambda: 0.5, renews=False)
    reconnecting.next()
    reconnecting.ended(Closed(Close.REDIRECTED.number, "http://gone"), 0.1)
    assert reconnecting.next() == Attempt("http://gone", True)
    assert reconnecting.ended(Closed(0), None) > 0
    assert reconnecting.next() == Attempt("http://b", True)
    assert reconnecting.ended(Closed(0), 10.0) > 0
    assert reconnecting.next() == Attempt("http://a", False)


@virtual_time
async def test_a_token_provider_is_asked_before_each_attempt() -> None:
    numbers = itertools.count(1)

    async def token() -> str:
        await asyncio.sleep(0.01)
        return f"token {next(numbers)}"

    async def script(line: Line) -> None:
        await line.welcome()
        if line.number == 0:
            line.close(Close.DRAINING.number)
        if line.number == 1:
            line.close(Close.UNAUTHORIZED.number)  # it has expired
        await line.stay()

    async with FakeGateway(script) as gateway, client(gateway, token=token) as device:
        await eventually(lambda: gateway.connections == 3 and device.state == "online")
    assert [line.token for line in gateway.lines] == ["token 1", "token 2", "token 3"]


@virtual_time
async def test_fresh_tokens_that_are_refused_stop_the_client() -> None:
    async def token() -> str:
        return "token"

    async def script(line: Line) -> None:
        await line.receive()
        line.close(Close.UNAUTHORIZED.number)

    async with FakeGateway(script) as gateway, client(gateway, token=token) as device:
        with pytest.raises(ConnectionRefused):
            await device.online()
        assert gateway.connections == 2


@virtual_time
async def test_a_token_provider_that_fails_is_asked_again() -> None:
    failures = iter([OSError("the login service is away"), RuntimeError("a fault of its own")])

    async def token() -> str:
        if error := next(failures, None):
            raise error
        return "token"

    async def script(line: Line) -> None:
        await line.welcome()
        await line.stay()

    async with FakeGateway(script) as gateway, client(gateway, token=token) as device:
        await device.online()
        assert gateway.connections == 1


@virtual_time
async def test_a_fault_of_the_client_stops_it_and_whoever_waits_gets_to_know() -> None:
    class Faulty:
        async def dial(self, url: str) -> Link:
            raise LookupError("a fault")

    async with client(Faulty()) as device:
        with pytest.raises(MessengerError, match="a fault of the client"):
            await device.online()


@pytest.mark.parametrize(
    ("there", "followed"),
    [
        ("https://a.example:9000", True),
        ("https://named.example", True),
        ("https://g7.nodes.example", True),
        ("https://nodes.example", False),
        ("https://evil.example", False),
        ("https://a.example.evil.example", False),
        ("https://a.example@evil.example", False),
        ("https://evilnodes.example", False),
        ("https://[", False),
    ],
)
def test_a_token_goes_to_no_host_that_the_application_has_not_named(
    there: str, followed: bool
) -> None:
    gateways = Gateways(["https://a.example"], ["named.example", ".nodes.example"])
    reconnecting = Reconnecting(gateways, jitter=lambda: 0.5, renews=False)
    reconnecting.next()
    reconnecting.ended(Closed(Close.REDIRECTED.number, there), 0.1)
    assert reconnecting.next() == Attempt(there if followed else "https://a.example", True)


@virtual_time
async def test_a_session_goes_on_with_a_fresh_token_when_its_own_expires() -> None:
    numbers = itertools.count(1)

    async def token() -> str:
        return f"token {next(numbers)}"

    renewed: list[Renew] = []

    async def script(line: Line) -> None:
        await line.welcome()
        line.say(TokenExpires(1))
        while not isinstance(frame := await line.receive(), Renew):
            pass
        renewed.append(frame)
        await line.stay()

    async with FakeGateway(script) as gateway, client(gateway, token=token) as device:
        await eventually(lambda: len(renewed) == 1 and device.state == "online")
    assert renewed[0].token == "token 2"
    assert gateway.connections == 1


@pytest.mark.parametrize("close", [Close.TOKEN_EXPIRED, Close.REVOKED])
@virtual_time
async def test_a_client_comes_back_with_a_fresh_token(close: Close) -> None:
    numbers = itertools.count(1)

    async def token() -> str:
        return f"token {next(numbers)}"

    async def script(line: Line) -> None:
        await line.welcome()
        if line.number == 0:
            line.close(close.number)
        await line.stay()

    async with FakeGateway(script) as gateway, client(gateway, token=token) as device:
        await eventually(lambda: gateway.connections == 2 and device.state == "online")
    assert [line.token for line in gateway.lines] == ["token 1", "token 2"]
