"""Each queue of the gateway at its bound, and its rule: others are served, what was acknowledged is
there, all come back."""

import asyncio
import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from gateway.edge.connection import HELLO_SECONDS
from gateway.greeter import MAX_ARRIVING
from gateway.queries.worker_client import MAX_UNDER_WAY
from gateway.queries.worker_transport import MAX_REQUESTS
from gateway.submit import MAX_UNACKNOWLEDGED_BYTES
from gateway.turn_writer import MAX_UNREAD_BYTES
from messenger_sdk import MessageReceived, StateChanged
from schemas.codes import Close, Code
from schemas.frames import MAX_BODY_BYTES, MAX_FRAMES, MAX_QUESTIONS, OUTBOX_WINDOW
from tests.harness.client import BreakableClient
from tests.harness.device import connect_raw, token_of, told
from tests.harness.raw_socket import RawSocket
from tests.harness.stack import Stack
from tests.harness.talk import Talk

pytestmark = pytest.mark.real
_FRAME_RATE = 2000
_ESTABLISHED = "01"


@pytest.fixture
def lab(plain: Stack) -> Stack:
    return plain


@pytest.fixture
async def talk(lab: Stack, request: pytest.FixtureRequest) -> AsyncIterator[Talk]:
    async with Talk(lab, request.node.name.replace("_", "-")[5:25]) as talking:
        yield talking


def metric(stack: Stack, name: str) -> float:
    with urllib.request.urlopen(f"{stack.gateway_urls[0]}/metrics", timeout=5) as answer:
        shown = answer.read().decode().splitlines()
    lines = dict(line.split() for line in shown if not line.startswith("#"))
    return float(lines[f"messenger_gateway_{name}"])


async def test_slow_reader_is_told_to_come_back_and_shows_everything(
    lab: Stack, talk: Talk
) -> None:
    alice, bob = await talk.join("alice"), await talk.join("bob")
    shown: list[int] = []
    codes: list[int] = []

    async with BreakableClient(
        lab.gateway_urls[0], token_of(lab, talk.user("slow")), "phone"
    ) as slow:

        async def watch() -> None:
            async for event in slow:
                if isinstance(event, MessageReceived):
                    assert event.missing == 0
                    shown.append(event.seq)
                elif isinstance(event, StateChanged) and event.state == "waiting":
                    codes.append(event.code)

        watching = asyncio.create_task(watch())
        await slow.online()
        await talk.say(alice, "slow", ["before"])
        async with asyncio.timeout(60):
            while not shown or not slow.device.begun:
                await asyncio.sleep(0.01)
        transport = slow.network.transport
        transport.pause_reading()
        count = 0
        closed = 0.0
        while not closed:  # until more waits than the kernel's buffers and the node's take
            bodies = [f"{count + number} " + "x" * 15_000 for number in range(OUTBOX_WINDOW)]
            await talk.say(alice, "slow", bodies)
            await talk.say(alice, "bob", [f"beside {count}"])
            count += OUTBOX_WINDOW
            assert count * 15_000 < 40 * MAX_UNREAD_BYTES, "it is never closed"
            closed = metric(lab, "slow_readers_total")
        transport.resume_reading()
        async with asyncio.timeout(60):
            while len(shown) < count + 1:
                await asyncio.sleep(0.02)
        await slow.close()
        await watching
    assert codes == [Close.SLOW_READER.number]
    assert shown == list(range(1, count + 2))
    await talk.settle()
    served = [
        message
        for message in talk.shown[f"{talk.user('bob')}/one"]
        if message.body.startswith("beside")
    ]
    assert len(served) == count // OUTBOX_WINDOW
    assert bob.state == "online"


async def test_flooding_device_is_told_so_and_others_are_served(lab: Stack, talk: Talk) -> None:
    alice, _ = await talk.join("alice"), await talk.join("bob")
    flood = await connect_raw(lab, talk.user("flood"))
    floods = 12
    for _ in range(floods):
        await flood.send(b"\n".join([b'{"t":"ping","id":1}'] * MAX_FRAMES))
    await talk.say(alice, "bob", [f"beside {number}" for number in range(50)])
    async with asyncio.timeout(60):
        while len(told(flood)) < floods * MAX_FRAMES + 1:
            await asyncio.sleep(0.02)
    answers = [frame["t"] for frame in told(flood)[1:]]
    limited = [frame for frame in told(flood) if frame["t"] == "error"]
    assert {(frame["code"], frame["retry"]) for frame in limited} == {
        (Code.RATE_LIMITED.number, True)
    }
    assert 2 * _FRAME_RATE <= answers.count("pong") < floods * MAX_FRAMES
    await asyncio.sleep(0.1)
    flood.received.clear()
    await flood.send(b'{"t":"ping","id":2}')
    await flood.until(b'"id":2')
    assert told(flood) == [{"t": "pong", "id": 2}]
    await flood.close()
    await talk.settle()
    assert talk.verdict().clean


async def test_questions_under_way_are_bounded(lab: Stack, talk: Talk) -> None:
    asking = await connect_raw(lab, talk.user("asking"))
    ids = range(100, 100 + MAX_QUESTIONS + 5)
    questions = [json.dumps({"t": "sync", "id": id_, "cursors": {}}) for id_ in ids]
    await asking.send("\n".join(questions).encode())
    async with asyncio.timeout(60):
        while len(told(asking)) < len(questions) + 1:
            await asyncio.sleep(0.01)
    answers = {frame["id"]: frame for frame in told(asking)[1:]}
    assert sorted(answers) == list(ids)
    assert [answers[id_]["t"] for id_ in ids] == ["heads"] * MAX_QUESTIONS + ["error"] * 5
    assert all(answers[id_]["code"] == Code.RATE_LIMITED.number for id_ in ids[MAX_QUESTIONS:])
    asking.received.clear()
    await asking.send(json.dumps({"t": "sync", "id": 7, "cursors": {}}).encode())
    await asking.until(b'"heads"')
    await asking.close()


async def test_silent_sockets_are_closed_and_do_not_keep_devices_out_for_long(lab: Stack) -> None:
    """As many as may arrive at once: the next takes the place of the oldest of them, which has had
    a second to say hello."""
    async with AsyncExitStack() as exits:
        silent = []
        for _ in range(MAX_ARRIVING):
            silent.append(await RawSocket.connect(lab.gateway_urls[0]))
            exits.push_async_callback(silent[-1].close)
        patient = asyncio.create_task(connect_raw(lab, "patient"))
        async with asyncio.timeout(HELLO_SECONDS / 2):
            await (await patient).close()
        async with asyncio.timeout(HELLO_SECONDS + 5):
            await asyncio.gather(*(socket.closed.wait() for socket in silent))
        codes = Counter(socket.code for socket in silent)
        assert codes[Close.MADE_ROOM.number] <= 1, "it came in time, or one made room for it"
        assert set(codes) <= {Close.MADE_ROOM.number, Close.HELLO_TIMEOUT.number}


async def test_all_who_come_at_once_are_let_in_and_those_that_are_there_are_served(
    lab: Stack, talk: Talk
) -> None:
    """More than may arrive at once, all with their requests there when the node looks: they wait,
    and nobody is turned away."""
    there = await connect_raw(lab, talk.user("there"))
    turned_away = metric(lab, "arrivals_turned_away_total")
    lab.kill("gateway-1", signal.SIGSTOP)
    coming = [
        asyncio.create_task(connect_raw(lab, talk.user(f"many{number}")))
        for number in range(MAX_ARRIVING + 300)
    ]
    try:
        await asyncio.sleep(2)
        await there.send(b'{"t":"ping","id":7}')
    finally:
        lab.kill("gateway-1", signal.SIGCONT)
    await there.until(b'"pong"')
    assert sum(task.done() for task in coming) < MAX_ARRIVING, (
        "it is answered before they are all in"
    )
    async with asyncio.timeout(60):
        devices = await asyncio.gather(*coming)
    assert metric(lab, "arrivals_turned_away_total") == turned_away
    assert metric(lab, "requests_waiting") == 0
    for device in (*devices, there):
        await device.close()


async def test_requests_that_are_no_sockets_keep_nobody_out(lab: Stack) -> None:
    def knock() -> None:
        for _ in range(MAX_ARRIVING + 10):
            with pytest.raises(urllib.error.HTTPError, match="400"):
                urllib.request.urlopen(f"{lab.gateway_urls[0]}/v1/socket", timeout=5)

    await asyncio.to_thread(knock)
    await (await connect_raw(lab, "after-the-knocking")).close()
    assert metric(lab, "arriving") == 0


async def test_questions_that_no_worker_answers_are_bounded_and_asked_again(
    lab: Stack, talk: Talk
) -> None:
    """More than are under way at once, while the worker is paused."""
    alice, bob = await talk.join("alice"), await talk.join("bob")
    await talk.say(alice, "bob", ["before"])
    count = MAX_UNDER_WAY // MAX_QUESTIONS + 75
    async with AsyncExitStack() as exits:
        asking: list[RawSocket] = []
        for number in range(count):
            # as many users as it takes: each has so many devices at most
            user = talk.user("alice") if number == 0 else talk.user(f"a{number}")
            asking.append(await connect_raw(lab, user, f"asking{number}"))
            exits.push_async_callback(asking[-1].close)
        before = resident_bytes(lab)
        lab.kill("worker-1", signal.SIGSTOP)
        try:
            for number, device in enumerate(asking):
                asker = "alice" if number == 0 else f"a{number}"
                await device.send(questions(f"{talk.user(asker)}:{talk.user('bob')}"))
            under_way = 0.0  # they are answered after a while, which may be now
            async with asyncio.timeout(60):
                while len(refused := answers(asking)) < 75 * MAX_QUESTIONS:
                    under_way = max(under_way, metric(lab, "questions"))
                    await asyncio.sleep(0.02)
            assert set(refused) == {Code.TRY_LATER.number}
            assert max(under_way, metric(lab, "questions")) == MAX_UNDER_WAY
            assert connections(lab) == MAX_REQUESTS
            assert resident_bytes(lab) - before < 100 * 1024 * 1024
            began = time.monotonic()
            await asking[-1].send(b'{"t":"ping","id":7}')
            await asking[-1].until(b'"pong"')
            assert time.monotonic() - began < 1, "others are held up"
            async with asyncio.timeout(60):
                while len(refused := answers(asking)) < count * MAX_QUESTIONS:
                    await asyncio.sleep(0.02)
            assert set(refused) == {Code.TRY_LATER.number}
            assert metric(lab, "questions") == 0
            assert lab.log("gateway-1").count("cannot be answered now") <= 4, (
                "a line for each fills the log"
            )
        finally:
            lab.kill("worker-1", signal.SIGCONT)
        async with asyncio.timeout(60):
            while True:
                asking[0].received.clear()
                await asking[0].send(questions(f"{talk.user('alice')}:{talk.user('bob')}"))
                while len(told(asking[0])) < MAX_QUESTIONS:
                    await asyncio.sleep(0.02)
                if all(frame["t"] == "page" for frame in told(asking[0])):
                    break
        assert all(len(frame["messages"]) == 1 for frame in told(asking[0]))
    await talk.say(bob, "alice", ["after"])
    await talk.settle()
    assert talk.verdict().clean


def questions(conversation: str) -> bytes:
    """As many as a device may ask at once."""
    question = {"t": "history", "conversation": conversation, "after": 0, "limit": 10}
    return "\n".join(
        json.dumps({**question, "id": 100 + number}) for number in range(MAX_QUESTIONS)
    ).encode()


def answers(asking: list[RawSocket]) -> list[int]:
    """The codes of all errors that were answered."""
    return [frame["code"] for device in asking for frame in told(device) if frame["t"] == "error"]


def connections(stack: Stack) -> int:
    """Of the gateway to the worker's pages."""
    port = int(stack.worker_urls[0].rsplit(":", 1)[1])
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table][1:]
    return sum(row[2] == f"0100007F:{port:04X}" and row[3] == _ESTABLISHED for row in rows)


async def test_kafka_away_sends_are_held_then_turned_away_and_come_once_and_in_order(
    lab: Stack, talk: Talk
) -> None:
    """More than the node holds, by devices that have many conversations each."""
    body = "x" * (MAX_BODY_BYTES - 100)
    people = 2 * MAX_UNACKNOWLEDGED_BYTES // (OUTBOX_WINDOW * MAX_BODY_BYTES)
    senders = [await talk.join(f"sender{number}") for number in range(4)]
    watching = await talk.join("person0", "watching")
    greeted = [  # without Kafka, nobody says what strangers accept
        talk.begin(sender, f"person{person}", f"{name} {person} 0")
        for name, sender in enumerate(senders)
        for person in range(name, people, len(senders))
    ]
    await asyncio.gather(*greeted)
    broker = lab.parts()["kafka"]["pid"]
    os.kill(broker, signal.SIGSTOP)
    try:
        sending = [
            talk.begin(sender, f"person{person}", f"{name} {person} {number} {body}")
            for number in range(1, OUTBOX_WINDOW)
            for name, sender in enumerate(senders)
            for person in range(name, people, len(senders))
        ]
        async with asyncio.timeout(60):
            while not metric(lab, "turned_away_total"):
                assert metric(lab, "ready")
                await asyncio.sleep(0.1)
        assert metric(lab, "unacknowledged") > 0
        assert len(talk.accepted) == people, "nothing is acknowledged that Kafka does not have"
        assert resident_bytes(lab) < 8 * MAX_UNACKNOWLEDGED_BYTES
    finally:
        os.kill(broker, signal.SIGCONT)
    async with asyncio.timeout(90):
        await asyncio.gather(*sending)
    await talk.settle()
    by_conversation: dict[str, list[tuple[int, list[str]]]] = {}
    for message in talk.accepted:
        by_conversation.setdefault(message.conversation, []).append(
            (message.seq, message.body.split())
        )
    assert len(by_conversation) == people
    for messages in by_conversation.values():
        assert [seq for seq, _ in sorted(messages)] == list(range(1, OUTBOX_WINDOW + 1))
        assert [int(words[2]) for _, words in sorted(messages)] == list(range(OUTBOX_WINDOW)), (
            "in the order they were written"
        )
    assert watching.state == "online"
    assert len(talk.shown[f"{talk.user('person0')}/watching"]) == OUTBOX_WINDOW
    assert (await asyncio.to_thread(lab.run, "audit")).returncode == 0


def resident_bytes(stack: Stack) -> int:
    pid = next(part["pid"] for name, part in stack.parts().items() if name.startswith("gateway"))
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))
