"""Delivered and read, through the whole real stack: on the sender's devices, on the reader's
others, and after coming back."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from messenger_sdk import Client
from tests.harness.device import connect_raw, told
from tests.harness.stack import Stack
from tests.harness.talk import Talk

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]


async def eventually(condition: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(60):
            while not condition():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(what) from None


def marks(client: Client, conversation: str, user: str) -> tuple[int, int]:
    mark = client.device.mark(conversation, user)
    return mark.received, mark.read


async def test_marks_reach_the_senders_devices_and_the_readers_others(stack: Stack) -> None:
    async with Talk(stack, "receipts") as talk:
        phone, tablet = await talk.join("alice", "phone"), await talk.join("alice", "tablet")
        alice, bob = talk.user("alice"), talk.user("bob")
        conversation = f"{alice}:{bob}"
        await talk.say(phone, "bob", ["one", "two", "three"])
        assert marks(phone, conversation, bob) == (0, 0), "bob has no device yet"
        first, second = await talk.join("bob", "first"), await talk.join("bob", "second")
        await talk.say(phone, "bob", ["four", "five"])

        def on_both(wanted: tuple[int, int]) -> bool:
            return all(marks(device, conversation, bob) == wanted for device in (phone, tablet))

        await eventually(lambda: on_both((5, 0)), "received on the sender's devices")
        assert phone.device.mark(conversation, bob).received_at > 1_600_000_000_000
        await eventually(
            lambda: first.device.unread(conversation) == second.device.unread(conversation) == 5,
            "unread",
        )
        first.read(conversation, 4)
        await eventually(lambda: on_both((5, 4)), "read on the sender's devices")
        await eventually(
            lambda: second.device.unread(conversation) == 1,
            "the badge clears on the reader's other device",
        )
        second.read(conversation, 3)
        second.read(conversation, 99)
        await eventually(
            lambda: marks(phone, conversation, bob) == (5, 5),
            "a claim is shown as far as there are messages",
        )
        assert first.device.unread(conversation) == 0
        later = await talk.join("alice", "later")
        await eventually(
            lambda: marks(later, conversation, bob) == (5, 5),
            "a device that comes later sees the same",
        )
        await eventually(lambda: marks(later, conversation, alice) == (5, 5), "who writes has read")


async def test_to_nobody_is_unread_what_they_wrote_on_whatever_device(stack: Stack) -> None:
    async with Talk(stack, "unread") as talk:
        phone, tablet = await talk.join("alice", "phone"), await talk.join("alice", "tablet")
        first, second = await talk.join("bob", "first"), await talk.join("bob", "second")
        alice, bob = talk.user("alice"), talk.user("bob")
        conversation = f"{alice}:{bob}"

        async def settled(
            alices: list[Client],
            bobs: list[Client],
            unread: tuple[int, int],
            marked: tuple[int, int],
        ) -> None:
            def so() -> bool:
                counts = [(unread[0], device) for device in alices] + [
                    (unread[1], device) for device in bobs
                ]
                seen = [(marked[1], bob, device) for device in alices] + [
                    (marked[0], alice, device) for device in bobs
                ]
                return all(
                    device.device.unread(conversation) == count for count, device in counts
                ) and all(
                    device.device.mark(conversation, other).read == seq
                    for seq, other, device in seen
                )

            await eventually(so, f"unread {unread}")

        await talk.say(phone, "bob", ["one", "two", "three"])
        await settled([phone, tablet], [first, second], (0, 3), (3, 0))
        await talk.say(second, "alice", ["four"])
        await settled([phone, tablet], [first, second], (1, 0), (3, 4))
        later = await talk.join("alice", "later"), await talk.join("bob", "later")
        await settled([phone, tablet, later[0]], [first, second, later[1]], (1, 0), (3, 4))
        await talk.say(tablet, "bob", ["five"])
        await settled([phone, tablet, later[0]], [first, second, later[1]], (0, 1), (5, 4))


async def test_a_stranger_who_has_written_nothing_leaves_no_mark(stack: Stack) -> None:
    async with Talk(stack, "stranger") as talk:
        alice, bob = talk.user("alice"), talk.user("bob")
        conversation = f"{alice}:{bob}"
        at_bobs = await talk.join("bob")
        raw = await connect_raw(stack, alice)

        async def ask(command: str) -> list[dict[str, Any]]:
            raw.received.clear()
            await raw.send(f'{{"t":{command}}}'.encode())
            await raw.until(b'"')
            return told(raw)

        claim = f'"read","conversation":"{conversation}","seq":5'
        (refused,) = await ask(claim)
        assert (refused["t"], refused["code"], refused["retry"]) == ("error", 130, True)
        (answer,) = await ask(f'"get_marks","id":2,"conversations":["{conversation}"]')
        assert answer["marks"] == []
        assert marks(at_bobs, conversation, alice) == (0, 0)
        await talk.say(await talk.join("alice"), "bob", ["hello"])
        await raw.send(f'{{"t":{claim}}}'.encode())
        await eventually(lambda: marks(at_bobs, conversation, alice) == (1, 1), "a mark now")
        await raw.close()
