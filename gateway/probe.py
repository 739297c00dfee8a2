"""Whether a message gets through, tried all the time: a node sends as a user of its own, delivers
to the recipient, reads the message back, and looks for it in the archive.

What it sends is the same message again, so it is a repeat: it takes the whole way, by the code of
every other send, and gets its first answer again. Each slot has one such message in each partition,
for ever. So conversations, counts and quotas know of no more than that. The partitions take turns.

A repeat is pushed to nobody but its sender. So the node itself does for the recipient what a worker
does with a new message: it asks Redis for the route, and writes a delivery to Kafka; the push comes
to a session of the recipient.
"""

import asyncio
import hashlib
import itertools
from collections import Counter
from collections.abc import Awaitable
from typing import TypeVar

from connectors.clickhouse.ports import Archive, ArchiveRefused, ArchiveUnavailable
from connectors.kafka.ports import QueueFull
from connectors.redis.client import RedisUnavailable
from connectors.redis.routes import Routes
from gateway.edge.http_senders import NoSession
from gateway.edge.tokens import Login
from gateway.latency import Latencies
from gateway.node import Node
from gateway.queries.history import HistoryUnavailable
from schemas.codec import encode_deliveries, encode_frame
from schemas.codes import Code
from schemas.events import AnswerDelivered
from schemas.fleet import ProbeReport
from schemas.frames import Message, Send, Sent
from schemas.ids import UserId, conversation_of, partition_of, user_id
from schemas.topics import DELIVERIES
from schemas.worker_api import RangeGone

T = TypeVar("T")

SEND, SHOWN, HISTORY, ARCHIVE = STEPS = ("send", "shown", "history", "archive")
_BODY = "A gateway sends this to see whether messages get through."
_LOGIN_SECONDS = 86_400.0
_ARCHIVED_MS = 60_000
"""A message is in the archive within 3 s; a young one may not be there yet."""
_FAILURES = (
    *(NoSession, RedisUnavailable, QueueFull),
    *(HistoryUnavailable, RangeGone, ArchiveUnavailable, ArchiveRefused),
)


class Failed(Exception):
    """A step has not done what it must; the text says how."""


class Probe:
    """Of `node`, every `seconds`, over `partitions` partitions. Run it as long as the node
    lives."""

    def __init__(
        self, node: Node, routes: Routes, archive: Archive | None, partitions: int, seconds: float
    ) -> None:
        self._node = node
        self._routes = routes
        self._archive = archive
        self._partitions = partitions
        self._seconds = seconds
        self._clock = asyncio.get_running_loop().time
        self._turns = itertools.cycle(range(partitions))
        self._peers: dict[tuple[int, int], UserId] = {}
        self.times = {step: Latencies() for step in STEPS}
        self.failures = Counter[str]()
        self.last: ProbeReport | None = None
        """What came of it the last time; None before."""

    async def run(self) -> None:
        """Until cancelled. A node that is not ready, whose devices are elsewhere, tries nothing."""
        while True:
            await asyncio.sleep(self._seconds)
            slot = self._node.slot
            if slot is not None and self._node.ready:
                await self.once(slot, next(self._turns))

    async def once(self, slot: int, partition: int) -> None:
        """Try all steps, as the user of this slot, in a conversation of this partition."""
        user, peer = user_id(f"probe-{slot}"), self._peer(slot, partition)
        conversation = conversation_of(user, peer)
        took: dict[str, float] = {}
        failed = step = ""
        try:
            step = SEND
            sent = await self._timed(step, took, self._send(user, peer))
            step = SHOWN
            key = _key(user, peer)
            await self._show(
                Message(conversation, sent.seq, user, key, sent.time, _BODY), peer, took
            )
            step = HISTORY
            page = await self._timed(
                step, took, self._node.parts.queries.history.page(conversation, None, 0, 1)
            )
            if page.known < sent.seq or not page.frames:
                raise Failed("the message is not in the conversation's history")
            if self._archive is not None:
                step = ARCHIVE
                found = await self._timed(
                    step, took, self._archive.page(conversation, after=0, limit=1)
                )
                if not found and self._node.now() - sent.time > _ARCHIVED_MS:
                    raise Failed("the message is not in the archive")
        except (Failed, *_FAILURES) as error:
            self.failures[step] += 1
            failed = f"{step}: {str(error) or type(error).__name__}"
        self.last = ProbeReport(partition, took, failed)

    async def _send(self, user: UserId, peer: UserId) -> Sent:
        outbox, key = _name(f"outbox {user} {peer}"), _key(user, peer)
        sends = [Send(peer, outbox, 1, key, _BODY)]
        (answer,) = await self._node.senders.send(self._login(user), sends)
        if isinstance(answer, Sent):
            return answer
        code = Code.of(getattr(answer, "code", 0))
        raise Failed(code.text if code is not None else f"it is answered {type(answer).__name__}")

    async def _show(self, message: Message, peer: UserId, took: dict[str, float]) -> None:
        """Deliver the message to a session of the recipient, and wait for its push. Opening the
        session takes no part of the time."""
        began = 0.0

        async def deliver() -> None:
            nonlocal began
            began = self._clock()
            routes = (await self._routes.lookup([peer]))[peer]
            if not routes:
                raise Failed("the recipient has no route in Redis")
            for device, slot in routes:
                event = AnswerDelivered(peer, device, encode_frame(message))
                for record in encode_deliveries([event]):
                    self._node.parts.producer.send(DELIVERIES, slot, record)

        try:
            await self._node.senders.receive(self._login(peer), deliver)
        except TimeoutError:
            raise Failed("the push to the recipient does not come") from None
        self._took(SHOWN, began, took)

    def _login(self, user: UserId) -> Login:
        now = self._node.now() / 1000
        return Login(user, None, now + _LOGIN_SECONDS, now)

    async def _timed(self, step: str, took: dict[str, float], work: Awaitable[T]) -> T:
        began = self._clock()
        result = await work
        self._took(step, began, took)
        return result

    def _took(self, step: str, began: float, took: dict[str, float]) -> None:
        took[step] = round((self._clock() - began) * 1000, 1)
        self.times[step].took(took[step])

    def _peer(self, slot: int, partition: int) -> UserId:
        """Whom the user of the slot writes to, so that the conversation is in this partition."""
        if (slot, partition) not in self._peers:
            user = user_id(f"probe-{slot}")
            for number in itertools.count():
                peer = user_id(f"probe-{slot}.{number}")
                if partition_of(conversation_of(user, peer), self._partitions) == partition:
                    self._peers[slot, partition] = peer
                    break
        return self._peers[slot, partition]


def _key(user: UserId, peer: UserId) -> str:
    return _name(f"key {user} {peer}")


def _name(text: str) -> str:
    """16 bytes that are always the same, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]
