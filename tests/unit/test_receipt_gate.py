"""Receipts go on only for conversations that have a message; nobody is asked about these twice."""

import asyncio
from collections.abc import Iterable
from typing import Any, cast

from gateway.queries.worker_transport import WorkersUnavailable
from gateway.receipt_gate import MAX_WAITING, MAX_WAITING_OF_USER, TOGETHER, ReceiptGate
from gateway.receipts import Receipts
from gateway.registry import ConnectionRegistry
from schemas.codec import decode_receipts
from schemas.codes import Code
from schemas.events import Receipt
from tests.harness.slow_kafka import SlowKafka
from tests.harness.virtual import run
from tests.unit.test_gateway_parts import Socket, message

A, STRANGER = "alice:bob", "alice:stranger"


class Conversations:
    """What the sequencers know: each answer takes 100 ms. `away`: they cannot be reached;
    `complete`: whether all of them answer."""

    def __init__(self, *having_messages: str) -> None:
        self.seqs_of = dict.fromkeys(having_messages, 1)
        self.asked: list[set[str]] = []
        self.away = False
        self.complete = True

    async def seqs(self, conversations: Iterable[str]) -> tuple[dict[str, int], bool]:
        names = set(conversations)
        self.asked.append(names)
        await asyncio.sleep(0.1)
        if self.away:
            raise WorkersUnavailable("away")
        return {name: self.seqs_of[name] for name in names & self.seqs_of.keys()}, self.complete


class Gate:
    """A gate with what is behind it, for devices `phone` of alice and bob."""

    def __init__(self, *having_messages: str) -> None:
        self.conversations = Conversations(*having_messages)
        self.kafka = SlowKafka()
        self.receipts = Receipts(self.kafka, 1)
        self.registry = ConnectionRegistry()
        self.gate = ReceiptGate(self.receipts, cast(Any, self.conversations), self.registry)
        self.refused: list[tuple[str, Code]] = []

    def give(self, conversation: str, seq: int = 1, user: str = "alice") -> None:
        self.gate.submit(
            Receipt(conversation, user, "phone", seq, True),
            lambda code: self.refused.append((conversation, code)),
        )

    async def taken(self) -> set[str]:
        """The conversations whose receipts have left for Kafka by now."""
        await asyncio.sleep(1)
        items = [item for sent in self.kafka.take() for item in decode_receipts(sent.value).items]
        return {item.conversation for item in items if isinstance(item, Receipt)}


def test_a_conversation_without_a_message_takes_no_receipt_and_one_with_is_asked_about_once() -> (
    None
):
    async def scenario() -> None:
        gate = Gate(A)
        gate.give(A)
        gate.give(STRANGER)
        assert await gate.taken() == {A}
        assert gate.refused == [(STRANGER, Code.NO_MESSAGE)]
        assert Code.NO_MESSAGE.retry, "an owner that is new may not know the first message yet"
        gate.give(A, 2)
        assert await gate.taken() == {A}
        asked = [name for names in gate.conversations.asked for name in names]
        assert sorted(asked) == [A, STRANGER]

        gate.conversations.seqs_of[STRANGER] = 1
        gate.give(STRANGER)
        assert await gate.taken() == {STRANGER}

    run(scenario())


def test_whoever_was_pushed_a_message_costs_no_question() -> None:
    async def scenario() -> None:
        gate = Gate()
        gate.registry.add(Socket("bob", "phone"))
        gate.registry.deliver(message(1))
        gate.give(A, user="bob")
        assert await gate.taken() == {A}
        assert gate.conversations.asked == []

    run(scenario())


def test_while_the_owners_are_away_the_device_is_told_to_come_again() -> None:
    async def scenario() -> None:
        gate = Gate(A)
        gate.conversations.away = True
        gate.give(A)
        assert await gate.taken() == set()
        gate.conversations.away, gate.conversations.complete = False, False
        gate.give(STRANGER)
        assert await gate.taken() == set()
        assert gate.refused == [(A, Code.TRY_LATER), (STRANGER, Code.TRY_LATER)]
        gate.give(A)
        assert await gate.taken() == {A}

    run(scenario())


def test_a_flood_of_made_up_names_is_one_question_at_a_time() -> None:
    async def scenario() -> None:
        gate = Gate()
        users = MAX_WAITING // MAX_WAITING_OF_USER
        for number in range(MAX_WAITING + 5):
            gate.give(f"alice:x{number}", user=f"u{number % (users + 1)}")
        assert [code for _, code in gate.refused] == [Code.TRY_LATER] * 5
        await asyncio.sleep(10)
        asked = gate.conversations.asked
        assert (len(asked), max(map(len, asked))) == (MAX_WAITING // TOGETHER, TOGETHER)
        assert len(gate.refused) == MAX_WAITING + 5

    run(scenario())


def test_a_flood_of_one_user_leaves_room_to_the_receipts_of_others() -> None:
    async def scenario() -> None:
        gate = Gate(A)
        for number in range(MAX_WAITING_OF_USER + 5):
            gate.give(f"eve:x{number}", user="eve")
        gate.give(A)
        assert gate.refused == [
            (f"eve:x{number}", Code.TRY_LATER)
            for number in range(MAX_WAITING_OF_USER, MAX_WAITING_OF_USER + 5)
        ]
        assert await gate.taken() == {A}
        gate.give("eve:y", user="eve")
        assert gate.refused[-1][1] is Code.NO_MESSAGE, "those before it have been answered"

    run(scenario())


def test_a_receipt_that_waits_does_not_bring_a_device_back_that_was_logged_out() -> None:
    async def scenario() -> None:
        gate = Gate(A)
        gate.give(A)
        await asyncio.sleep(0.05)
        gate.receipts.forget("alice", "phone")
        assert await gate.taken() == set()
        gate.give(A)  # it has logged in again
        assert await gate.taken() == {A}

    run(scenario())
