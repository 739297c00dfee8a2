"""The SDK's outbox against the real fold, over a network that loses, repeats and reorders: all
once, in the order written."""

import random

from hypothesis import given
from hypothesis import strategies as st

from agents.rules.batch import fold_records
from agents.rules.fold import FoldState, OutOfStep
from agents.rules.fold_view import InMemoryFoldView
from messenger_sdk.outbox import Outbox, SentMessage
from messenger_sdk.outbox_file import OutboxFile
from messenger_sdk.storage import Change, Finished
from schemas import frames
from schemas.codec import encode_event
from schemas.events import SCHEMA_VERSION, MessageSubmitted, SubmittedRecord
from tests.property.model import Input


class Server:
    """The fold behind a network."""

    def __init__(self) -> None:
        self.known = InMemoryFoldView()
        self.state = FoldState(self.known)
        self.bodies: list[str] = []

    def take(self, send: frames.Send) -> list[frames.Sent | frames.OutOfStep]:
        key, outbox = bytes.fromhex(send.key), bytes.fromhex(send.outbox)
        item = MessageSubmitted(
            "alice:bob", "alice", "phone", outbox, send.ordinal, key, send.round, send.body
        )
        record = Input(
            self.state.position + 1, 0, encode_event(SubmittedRecord(SCHEMA_VERSION, [item]))
        )
        (batch,) = fold_records(self.state, [record])
        replies: list[frames.Sent | frames.OutOfStep] = []
        for taken in batch.outcome.taken:
            self.bodies.append(taken.body)
            replies.append(
                frames.Sent(
                    "alice:bob", send.outbox, taken.ordinal, send.key, taken.seq, taken.time
                )
            )
        for answer in batch.outcome.answers:
            if isinstance(answer, OutOfStep):
                name = "alice:bob", send.outbox, send.ordinal, send.key
                replies.append(frames.OutOfStep(*name, send.round, answer.next, answer.reason))
            else:
                replies.append(
                    frames.Sent(
                        "alice:bob", send.outbox, send.ordinal, send.key, answer.answer.seq, 0
                    )
                )
        return replies


def ids(chance: random.Random) -> str:
    return f"{chance.getrandbits(128):032x}"


@given(st.integers(0, 2**63), st.integers(1, 150), st.booleans())
def test_everything_arrives_once_in_the_order_written(
    seed: int, count: int, restarts: bool
) -> None:
    """Also over restarts of the device, whose file may not have heard of the last answers."""
    chance = random.Random(seed)
    file = OutboxFile(":memory:")
    changes: list[Change] = []

    def new_id() -> str:
        return ids(chance)

    outbox = Outbox(new_id, stored=file.load(), journal=changes.append)
    server, now = Server(), 0.0
    wanted = [f"message {number}" for number in range(count)]
    unwritten = list(wanted)
    results: dict[str, SentMessage] = {}
    network: list[frames.Send] = []
    answers: list[frames.Sent | frames.OutOfStep] = []
    for step in range(20_000):
        if not unwritten and not len(outbox):
            break
        calm = step > 1000  # the network heals
        while unwritten and (calm or chance.random() < 0.5):
            outbox.add("bob", ids(chance), unwritten.pop(0))
        now += chance.choice([0.0, 0.1, 6.0])
        if restarts and not calm and chance.random() < 0.05:
            forgotten = chance.random() < 0.5 and all(
                isinstance(change, Finished) for change in changes
            )
            file.save([] if forgotten else changes)
            changes.clear()
            outbox = Outbox(new_id, stored=file.load(), journal=changes.append)
        if chance.random() < 0.05:
            outbox.reconnected()
        sends = [send for send in outbox.transmit(now) if isinstance(send, frames.Send)]
        file.save(changes)  # before anything leaves the device
        changes.clear()
        network += [send for send in sends if calm or chance.random() < 0.8]
        while network and chance.random() < 0.7:
            late = 0 if calm or chance.random() < 0.9 else chance.randrange(len(network))
            send = network.pop(late) if calm or chance.random() < 0.9 else network[late]
            answers += [answer for answer in server.take(send) if calm or chance.random() < 0.8]
        while answers and chance.random() < 0.7:
            answer = answers.pop(
                0 if calm or chance.random() < 0.8 else chance.randrange(len(answers))
            )
            done = (
                outbox.out_of_step("bob", answer, now)
                if isinstance(answer, frames.OutOfStep)
                else outbox.sent("bob", answer, now)
            )
            for ended in done:
                assert isinstance(ended.result, SentMessage), ended
                results[ended.key] = ended.result
    file.close()
    assert server.bodies == wanted
    assert sorted(result.seq for result in results.values()) == list(range(1, count + 1))
