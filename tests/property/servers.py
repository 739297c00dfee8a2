"""A messenger without processes: the real rules of sequencer and gateway, ports in memory, and lists for what is under way.

Nothing moves by itself: the test moves it, in whatever order. `off` switches one rule off, to show that it is needed.
"""

from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NamedTuple, TypeVar

from agents.rules.answers import begun_in, deliveries, message_frame, users_of
from agents.rules.batch import Batch, fold_records
from agents.rules.fold import FoldState
from agents.rules.known import Memory
from connectors.kafka.record import Record
from connectors.redis.directory import Begun, Entry
from connectors.redis.memory import MemoryRoutes
from connectors.redis.routes import Lease, Route
from gateway.hub import Connection, Hub
from gateway.session import Ask, End, Greet, Reply, Session, State, Submit, not_submitted
from schemas.codec import decode_deliveries, encode_event, encode_frame, encode_page, join_frames
from schemas.codes import Close, Code
from schemas.events import SCHEMA_VERSION, DeliveryRecord, SubmittedRecord, Taken
from schemas.frames import MAX_PAGE_MESSAGES, MAX_QUESTIONS, Error, Heads, History, Resync, Sync, Welcome
from schemas.ids import UserId, is_member, user_id
from tests.property.model import Input

SLOTS = 4
PARTITION = 0
_Result = TypeVar("_Result")


def now_or_never(coroutine: Coroutine[Any, Any, _Result]) -> _Result:
    """The result of a coroutine that waits for nothing, as those of the ports in memory do."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: _Result = done.value
        return result
    raise AssertionError("it waits for something")


class World:
    """What all parts share: Kafka's topics, Redis, the clock, the sequencer. `redis` is another one after a wipe."""

    def __init__(self, off: str = "") -> None:
        self.off = off
        self.now = 0.0
        self.redis = MemoryRoutes(lambda: self.now)
        self.slots: dict[int, list[Record]] = defaultdict(list)
        self.sequencer = Sequencer(self)

    def wipe_redis(self) -> None:
        self.redis = MemoryRoutes(lambda: self.now)


class Sequencer:
    """One partition: input, fold, deliveries and log, each as far as it has got."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.input: list[Input] = []
        self._state = FoldState(Memory())
        self._batches: list[Batch] = []
        self._delivered = 0
        self._landed = 0
        self.log: dict[str, list[Taken]] = defaultdict(list)
        """What has landed."""
        self._folded: dict[str, int] = defaultdict(int)

    @property
    def busy(self) -> bool:
        return self._state.position + 1 < len(self.input) or min(self._delivered, self._landed) < len(self._batches)

    def submit(self, record: SubmittedRecord) -> None:
        self.input.append(Input(len(self.input), len(self.input), encode_event(record)))

    def fold(self, most: int) -> None:
        start = self._state.position + 1
        for batch in fold_records(self._state, self.input[start : start + most]):
            self._batches.append(batch)
            for item in batch.outcome.taken:
                self._folded[item.conversation] = max(self._folded[item.conversation], item.seq)

    def deliver(self) -> None:
        """The next batch goes to the slots of those who are routed now (R4: it may not have landed)."""
        if self._delivered == len(self._batches):
            return
        outcome = self._batches[self._delivered].outcome
        self._delivered += 1
        users = sorted(users_of(outcome.taken, outcome.answers))
        begun = Begun(PARTITION, begun_in(outcome.taken)) if self._world.off != "what begins is added" else None
        routes = now_or_never(self._world.redis.lookup(users, begun))
        for slot, events in deliveries(outcome.taken, outcome.answers, routes).items():
            topic = self._world.slots[slot]
            topic.append(Record(slot, len(topic), 0, encode_event(DeliveryRecord(SCHEMA_VERSION, list(events)))))

    def deliver_again(self, back: int) -> None:
        """Another owner, or a failed delivery: what is not known to be delivered goes out again (R5)."""
        self._delivered = max(0, self._delivered - back)

    def land(self) -> None:
        """The next batch reaches the log."""
        if self._landed < len(self._batches):
            for item in self._batches[self._landed].outcome.taken:
                if item.seq:
                    self.log[item.conversation].append(item)
            self._landed += 1

    def heads(self, user: str, sync: Sync, entry: Entry) -> Heads:
        """Of all that was folded: what was delivered before this device had a route may not have landed yet.

        Nothing is asked if the directory knows that nothing is here; what it does not know it is told once all input is folded.
        """
        seqs: Mapping[str, int] = self._folded
        if entry.mark is None and PARTITION not in entry.partitions:
            return Heads(sync.id, {})
        if entry.mark is not None and self._state.position + 1 == len(self.input):
            held = [PARTITION] if any(is_member(conversation, user) for conversation in seqs) else []
            now_or_never(self._world.redis.directory.complete(user, entry.mark, held))
        if self._world.off == "heads tell what is under way":
            seqs = {conversation: len(messages) for conversation, messages in self.log.items()}
        heads = {
            conversation: seq
            for conversation, seq in seqs.items()
            if is_member(conversation, user)
            and conversation > sync.after
            and (not sync.until or conversation <= sync.until)
            and seq > sync.cursors.get(conversation, 0)
        }
        return Heads(sync.id, heads)

    def page(self, question: History) -> bytes:
        messages = self.log[question.conversation]
        assert question.after is not None
        found = messages[question.after : question.after + min(question.limit, MAX_PAGE_MESSAGES)]
        return encode_page(question.id, question.conversation, len(messages), map(message_frame, found))


class Line:
    """A socket, both ends: `up` has come from the device and waits for the node, `down` is on its way to the device."""

    def __init__(self) -> None:
        self.user = ""
        self.device = ""
        self.seen: dict[str, int] = {}
        self.since = 0
        self.watched: frozenset[str] = frozenset()
        self.session = Session(user_id, rate=1e9, now=0)  # a token is the user's name
        self.up: list[bytes] = []
        self.down: list[bytes | Close] = []
        self.out: list[bytes] = []
        self.broken = False
        """The network between them is gone; the node has not noticed."""
        self.closing: Close | None = None

    def push(self, frame: bytes) -> None:
        self.out.append(frame)

    def answer(self, frame: bytes) -> None:
        self.out.append(frame)

    def flush(self) -> None:
        if self.out and self.session.state is not State.GREETING and self.closing is None:
            self.down.append(join_frames(self.out))
            self.out.clear()

    def close(self, code: Close) -> None:
        if self.closing is None:
            self.flush()
            self.closing = code
            self.session.state = State.CLOSED
            self.down.append(code)

    async def leave(self) -> None:
        self.close(Close.DRAINING)


class _Asked(NamedTuple):
    """`entry` is what the directory knows of the user who syncs, once it was asked."""

    line: Line
    command: Sync | History
    entry: Entry | None = None


class Node:
    """A gateway: hub, session and pusher are the real ones; of gateway/slot.py and socket.py, what they do in which order."""

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self.alive = True
        self.hub = Hub()
        self.lines: list[Line] = []
        self.asked: list[_Asked] = []
        self._world = world
        self._slot: int | None = None
        self._position = 0
        self._greeting: list[tuple[Line, int, bool]] = []
        self._owes_resync = False
        self._take_slot()

    @property
    def ready(self) -> bool:
        return self.alive and self._slot is not None

    @property
    def busy(self) -> bool:
        unread = self._slot is not None and self._position < len(self._world.slots[self._slot])
        return self.alive and (unread or bool(self.asked or self._greeting) or any(line.up for line in self.lines))

    def kill(self) -> None:
        self.alive = False
        for line in self.lines:
            line.broken = True

    def connect(self) -> Line:
        line = Line()
        self._world.now += 0.001  # no two at once: later ones have later routes
        line.since = self._world.redis.now()
        self.lines.append(line)
        return line

    def read_devices(self, away: Callable[[], bool] = lambda: False) -> None:
        """What devices have sent. `away`: Kafka does not take it."""
        for line in list(self.lines):
            while line.up:
                for effect in line.session.receive(line.up.pop(0), 0):
                    self._carry_out(line, effect, away)
            line.flush()

    def greet(self) -> None:
        """The next step of each hello: registered in the hub, then routed and welcomed."""
        greeting, self._greeting = self._greeting, []
        for line, id_, registered in greeting:
            if line.closing is not None:
                continue
            if self._slot is None:
                line.close(Close.SLOT_LOST)
            elif not registered:
                replaced = self.hub.add(line)
                if replaced is not None:
                    replaced.close(Close.REPLACED)
                self._greeting.append((line, id_, True))
            else:
                now_or_never(self._world.redis.write_routes([Route(line.user, line.device, self.name, self._slot, line.since)]))
                line.session.welcomed()
                line.out.insert(0, encode_frame(Welcome(id_, 1, line.user, line.device, self.name, "log", 0, 25.0)))
                line.flush()

    def reply(self, place: int, later: bool = False) -> None:
        """Answer one of the questions under way; `later`: no worker could be asked."""
        if not self.asked:
            return
        line, command, entry = self.asked.pop(place % len(self.asked))
        if later:
            line.push(_error(command.id, Code.TRY_LATER))
        elif isinstance(command, Sync) and entry is None:
            found = now_or_never(self._world.redis.directory.find(line.user))
            self.asked.append(_Asked(line, command, found))
        elif isinstance(command, Sync) and entry is not None:
            line.push(encode_frame(self._world.sequencer.heads(line.user, command, entry)))
        elif isinstance(command, History):
            line.push(self._world.sequencer.page(command))
        line.flush()

    def take_deliveries(self, most: int) -> None:
        if self._slot is not None:
            records = self._world.slots[self._slot][self._position : self._position + most]
            self._position += len(records)
            dirty: set[Connection] = set()
            for record in records:
                for event in decode_deliveries(record.value).events:
                    self.hub.deliver(event, dirty)
            for told in dirty:
                told.flush()

    def hold(self) -> None:
        """Renew the lease (R15); who has lost the slot sends all away and takes another."""
        redis = self._world.redis
        if self._slot is None:
            self._take_slot()
            return
        lease = now_or_never(redis.renew_slot(self.name, self._slot))
        if lease is Lease.TAKEN:
            for line in self.lines:
                line.close(Close.SLOT_LOST)
            self._take_slot()
        elif lease is Lease.VANISHED:
            if self._world.off != "routes are written again":
                now_or_never(redis.write_routes([Route(c.user, c.device, self.name, self._slot, c.since) for c in self.hub]))
            for connection in self.hub if self._world.off != "devices are told to ask again" else ():
                connection.push(encode_frame(Resync()))
                connection.flush()

    def end_lines(self) -> None:
        """Sockets that are closed, or found dead."""
        for line in [line for line in self.lines if line.broken or line.closing is not None]:
            self.lines.remove(line)
            line.close(Close.INTERNAL)
            if self.hub.remove(line) and self._slot is not None and not self.hub.has(line.user, line.device):
                now_or_never(self._world.redis.remove_route(Route(line.user, line.device, self.name, self._slot, line.since)))
            self.asked = [asked for asked in self.asked if asked.line is not line]

    def _take_slot(self) -> None:
        """R14: the position comes before the first route."""
        self._slot = now_or_never(self._world.redis.acquire_slot(self.name, SLOTS))
        if self._slot is not None:
            self._position = len(self._world.slots[self._slot])

    def _carry_out(self, line: Line, effect: object, away: Callable[[], bool]) -> None:
        if isinstance(effect, Submit):
            if away():
                line.push(not_submitted(effect.item, effect.to, Code.TRY_LATER))
            else:
                self._world.sequencer.submit(SubmittedRecord(SCHEMA_VERSION, [effect.item]))
        elif isinstance(effect, Reply):
            line.push(effect.frame)
        elif isinstance(effect, Ask):
            if sum(asked.line is line for asked in self.asked) >= MAX_QUESTIONS:
                line.push(_error(effect.question.id, Code.RATE_LIMITED))
            else:
                assert isinstance(effect.question, Sync | History)
                self.asked.append(_Asked(line, effect.question))
        elif isinstance(effect, Greet):
            line.user, line.device = UserId(effect.user), effect.device
            self._greeting.append((line, effect.id, False))
        elif isinstance(effect, End):
            line.close(effect.close)


def _error(id_: int, code: Code) -> bytes:
    return encode_frame(Error(code.number, code.retry, code.text, id=id_))
