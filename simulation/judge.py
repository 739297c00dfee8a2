"""What must hold, whatever happened: on the way, and when nothing is left to do.

The log is dense, each message stands in it once and in its sender's order, and it is the fold of
the input, by the fold that `messenger audit` has of its own. Every device shows what the log says:
messages, marks, unread counts, who is there. The archive equals the log, and `memberships` has
everybody who has a conversation. Each partition has a snapshot. Everything drains, and no task has
died unseen.
"""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

from agents.rules.people import is_late
from connectors.kafka.memory_broker import MemoryBroker
from connectors.kafka.record import Record
from messenger_sdk import SentMessage
from ops.audit.fold import SecondFold
from schemas.codec import decode_log, decode_membership, decode_person, decode_receipts
from schemas.events import Membership, PersonState, Receipt, Taken
from schemas.ids import members_of_valid, partition_of
from schemas.topics import DEAD_LETTERS, LOG, MEMBERSHIPS, PEOPLE, RECEIPTS, SUBMITTED
from simulation.snapshots import undamaged

if TYPE_CHECKING:
    from simulation.people import App
    from simulation.world import World


_GONE = -1


class Shown(NamedTuple):
    """A message as an app shows it, and as the log has it. `changes`: it is a change of that
    message. `version`: the change whose `body` it has (0: none; _GONE: it is deleted)."""

    seq: int
    sender: str
    key: str
    body: str
    changes: int = 0
    version: int = 0


def shown_of(seq: int, sender: str, key: str, body: str, changes: int, version: int) -> Shown:
    return Shown(seq, sender, key, body, changes, version if body else _GONE)


def show(messages: list[Shown], one: Shown) -> None:
    """Add the next message of a conversation. A change changes its message, and what has changed
    that before; a deletion is final."""
    if one.changes and any(old.version == _GONE and old.seq == one.changes for old in messages):
        one = one._replace(body="", version=_GONE)
    for place, old in enumerate(messages if one.changes else ()):
        newer = one.version == _GONE or one.version > old.version
        if one.changes in (old.seq, old.changes) and newer and old.version != _GONE:
            messages[place] = old._replace(body=one.body, version=one.version)
    messages.append(one)


def changed(messages: Sequence[Shown]) -> list[Shown]:
    """The messages of a conversation, each as the last change says."""
    found: list[Shown] = []
    for one in messages:
        show(found, one)
    return found


class Decision(NamedTuple):
    """`user` has blocked `other`, or does so no more, when `people` ended at `end`."""

    user: str
    other: str
    blocked: bool
    end: int


class Submitted:
    """A message that a person wrote in an app. `saved`: its app cannot forget it any more."""

    def __init__(self, app: str, sender: str, to: str, body: str) -> None:
        self.app = app
        self.to = to
        self.conversation = ":".join(sorted((sender, to)))
        self.sender = sender
        self.body = body
        self.saved = False
        self.sent: SentMessage | None = None


class _Covered(NamedTuple):
    """The last input record that a log record covers, and its fingerprint."""

    offset: int
    fingerprint: tuple[int, int]


class _Log:
    """One partition: what the log says (R2), and what the fold of the input says."""

    def __init__(self, broker: MemoryBroker, partition: int) -> None:
        self.taken: list[Taken] = []
        self.expected: list[Taken] = []
        self.position = -1
        self._broker = broker
        self._partition = partition
        self._offset = 0
        self.aside: set[int] = set()
        """Input offsets that halt the partition, until an operator sets them aside."""
        self._expired: list[Record] = []
        """What Kafka has no more, because it was to expire."""
        self._cuts = self._input_cuts = 0
        self._covered: list[_Covered] = []
        self._begin_fold()

    def _begin_fold(self) -> None:
        self.expected = []
        self._fold = SecondFold()

    @property
    def dead(self) -> int:
        """Items of the input that no decoder reads."""
        return self._fold.set_aside

    def will_expire(self, before: int) -> None:
        """Keep the log's records before an offset."""
        log = self._broker.log(LOG, self._partition)
        self._expired += log.read(log.start, before)

    def read(self) -> Iterator[str]:
        """Read on in both; yields what is wrong with the log."""
        log = self._broker.log(LOG, self._partition)
        if log.cuts != self._cuts:
            self._cuts, self._offset, self.position, self.taken = log.cuts, 0, -1, []
            self._covered = []
        expired = [record for record in self._expired if record.offset >= self._offset]
        for record in (*expired, *log.read(self._offset, log.end)):
            self._offset = record.offset + 1
            entry = decode_log(record.value)
            if entry.from_ > self.position + 1 or entry.to <= self.position:
                continue
            fresh = [item for item in entry.taken if item.offset > self.position]
            self.taken += fresh
            self.position = entry.to
            self._covered.append(_Covered(entry.to, (entry.input_time, entry.input_crc)))
        source = self._broker.log(SUBMITTED, self._partition)
        if source.cuts != self._input_cuts:
            self._input_cuts = source.cuts
            self._begin_fold()
        if self.lacks_input:
            yield from self._goes_on()
            return
        start = self._fold.position + 1
        for record in source.read(start, source.end):
            if record.offset in self.aside:
                self._fold.skip(record.offset, record.value)
            else:
                self.expected += self._fold.record(record.offset, record.timestamp, record.value)
        # the log was read first, so the fold has come at least as far
        if self.taken != self.expected[: len(self.taken)]:
            yield _not_the_fold(self._partition, self.taken, self.expected)

    def _is_there(self, covered: _Covered) -> bool:
        """Whether the input has the record that was folded."""
        found = self._broker.log(SUBMITTED, self._partition).read(
            covered.offset, covered.offset + 1
        )
        return [(one.timestamp, zlib.crc32(one.value)) for one in found] == [covered.fingerprint]

    @property
    def lacks_input(self) -> bool:
        """The input has lost records of which the log has the fold."""
        return self._input_cuts > 0 and not all(map(self._is_there, self._covered))

    def _goes_on(self) -> Iterator[str]:
        lost = False
        for covered in self._covered:
            if not self._is_there(covered):
                lost = True
            elif lost:
                yield (
                    f"{LOG}/{self._partition} goes on with {SUBMITTED} offset {covered.offset},"
                    " although the input has lost what was folded before it"
                )
                return


class Judge:
    """Collects what is wrong in a world. `found` is called by whoever sees something."""

    def __init__(self, world: "World") -> None:
        self.faults: list[str] = []
        self.submitted: list[Submitted] = []
        self.knocks: dict[str, bool] = {}
        """Bodies that were sent when all was quiet → whether the sender is blocked."""
        self._blocks: set[tuple[str, str]] = set()
        """Who has ever tried to block, and whom."""
        self._world = world
        self._logs = [_Log(world.broker, number) for number in range(world.shape.partitions)]

    def found(self, what: str) -> None:
        """Something is wrong that can never become right."""
        self._world.loop.tell(f"the judge finds: {what}")
        self.faults.append(what)

    def decides(self, user: str, other: str, blocked: bool) -> Decision:
        """A person begins to say so."""
        if blocked:
            self._blocks.add((user, other))
        return Decision(user, other, blocked, len(self._people(user)))

    def decided(self, app: str, decision: Decision) -> None:
        """The app has heard that a decision counts."""
        user, other, blocked, end = decision
        since = self._people(user)[end:]
        if not any((one.other, one.blocked) == (other, blocked) for one in since):
            self.found(f"{app} has heard {decision}, and {PEOPLE} does not have it")

    def may_be_blocked(self, user: str, other: str) -> bool:
        """Whether `user` has ever tried to block `other`."""
        return (user, other) in self._blocks

    def stances(self) -> dict[tuple[str, str], bool]:
        """(who decides, about whom) → whether they are blocked, by `people`."""
        latest: dict[tuple[str, str], PersonState] = {}
        for user in self._world.people.users:
            for state in self._people(user):
                known = latest.get((user, state.other))
                if state.user == user and (known is None or not is_late(state, known)):
                    latest[user, state.other] = state
        return {pair: state.blocked for pair, state in latest.items()}

    def _people(self, user: str) -> list[PersonState]:
        """All states of a user's partition."""
        number = partition_of(user, self._world.shape.partitions)
        return [decode_person(one.value) for one in self._world.broker.read_all(PEOPLE, number)]

    def set_aside(self, partition: int, offset: int) -> None:
        """An operator will set this input record aside: nobody can fold it."""
        self._logs[partition].aside.add(offset)

    def will_expire(self, partition: int, before: int) -> None:
        """The records of a log before an offset are about to expire."""
        self._logs[partition].will_expire(before)

    def look(self) -> list[str]:
        """What can never become right, so far."""
        for log in self._logs:
            self.faults += log.read()
        self.faults += [
            f"nobody waited for a task that failed: {fault.get('exception')!r}"
            for fault in self._world.loop.faults
        ]
        self._world.loop.faults.clear()
        return self.faults

    def messages(self) -> dict[str, list[Shown]]:
        """conversation → its messages, by the log."""
        found: dict[str, list[Shown]] = {}
        for log in self._logs:
            for item in log.taken:
                if item.seq:
                    found.setdefault(item.conversation, []).append(
                        shown_of(
                            *(item.seq, item.sender, item.key.hex(), item.body),
                            *((item.changes.seq, item.seq) if item.changes else (0, 0)),
                        )
                    )
        return found

    def wrong(self) -> list[str]:
        """What is not as it must be when nothing is left to do."""
        wrong = list(self.look())
        if any(log.lacks_input for log in self._logs):
            return wrong + _contradictions(self._world, self.messages())
        if not wrong:
            wrong += self._undone()
        if not wrong:
            truth = self.messages()
            wrong += _numbers(truth)
            wrong += self._sends(truth)
            wrong += self._knocks(truth)
            marks, stances = self._marks(), self.stances()
            for conversation, user in sorted(marks):
                if conversation not in truth:
                    wrong.append(f"{RECEIPTS} has {user} in {conversation}, where nobody wrote")
            truth = {name: changed(messages) for name, messages in truth.items()}
            for app in self._world.people.here:
                wrong += self._app(app, truth, marks)
                wrong += self._decisions(app, truth, marks, stances)
            wrong += self._memberships(truth)
            wrong += self._presence(stances)
            wrong += self._archive(truth)
        return wrong

    def _undone(self) -> Iterator[str]:
        world = self._world
        for app in world.people.here:
            app.watch()
            if not app.online:
                yield f"{app.label} is not online"
            elif app.client is not None and app.client.device.waits:
                yield f"{app.label} still waits for an answer of the server"
            elif app.opening:
                yield f"{app.label} still waits for {app.opening} pages"
        for number, log in enumerate(self._logs):
            if len(log.taken) != len(log.expected):
                missing = len(log.expected) - len(log.taken)
                yield f"{LOG}/{number} still lacks {missing} ordinals that its input has"
            partitions = world.shape.partitions
            if log.taken and not undamaged(world.broker, number, partitions):
                yield f"{LOG}/{number} has no snapshot"
        dead = sum(log.dead for log in self._logs)
        letters = sum(
            world.broker.log(DEAD_LETTERS, number).end for number in range(world.shape.partitions)
        )
        if letters < dead:
            yield f"{dead} items of {SUBMITTED} cannot be read, and {DEAD_LETTERS} has {letters}"
        for group, topic in world.inputs().items():
            for number in range(world.shape.partitions):
                end = world.broker.log(topic, number).end
                done = world.broker.committed(group, topic, number) or 0
                if done < end:
                    yield f"{group} has committed {topic}/{number} up to {done}; its end is {end}"

    def _memberships(self, conversations: Iterable[str]) -> Iterator[str]:
        broker, partitions = self._world.broker, self._world.shape.partitions
        said: dict[str, set[int]] = {}
        all_said: dict[int, int] = {}
        for number in range(partitions):
            for record in broker.read_all(MEMBERSHIPS, number):
                fact = decode_membership(record.value).fact
                if isinstance(fact, Membership):
                    said.setdefault(fact.user, set()).add(fact.partition)
                elif fact.topic == broker.topic_ids()[MEMBERSHIPS]:
                    all_said[fact.partition] = all_said.get(fact.partition, 0) + 1
        for number in range(partitions):
            if all_said.get(number, 0) < partitions:
                yield f"{LOG}/{number} has not said who all its members are"
        for conversation in conversations:
            number = partition_of(conversation, partitions)
            for user in members_of_valid(conversation):
                if number not in said.get(user, ()):
                    yield f"{MEMBERSHIPS} does not have {user} in {LOG}/{number}"

    def _knocks(self, truth: dict[str, list[Shown]]) -> Iterator[str]:
        logged = {message.body for messages in truth.values() for message in messages}
        for body, blocked in self.knocks.items():
            if blocked == (body in logged):
                does = "has" if blocked else "does not have"
                yield f"the log {does} {body!r}; its sender is{'' if blocked else ' not'} blocked"

    def _sends(self, truth: dict[str, list[Shown]]) -> Iterator[str]:
        places: dict[str, tuple[str, int]] = {}
        for conversation, messages in truth.items():
            for message in messages:
                if message.body and message.body in places:
                    yield _twice(message.body, places[message.body], (conversation, message.seq))
                else:
                    places[message.body] = conversation, message.seq
        last: dict[tuple[str, str], int] = {}
        here = {app.label for app in self._world.people.here}
        for one in self.submitted:
            conversation, seq = places.get(one.body, (one.conversation, 0))
            if one.sent is not None and (one.sent.conversation, one.sent.seq) != (
                conversation,
                seq,
            ):
                yield (
                    f"{one.app} heard that {one.body!r} is {one.sent.conversation} {one.sent.seq};"
                    f" in the log it is {f'{conversation} {seq}' if seq else 'missing'}"
                )
            refused = one.sent is None and self.may_be_blocked(one.to, one.sender)
            if one.saved and not seq and one.app in here and not refused:
                yield (
                    f"{one.app} has saved {one.body!r} to {conversation}, and the log does not"
                    " have it"
                )
            if seq:
                if seq < last.get((one.app, conversation), 0):
                    yield (
                        f"{one.body!r} is {conversation} {seq}, and {one.app} wrote"
                        f" {conversation} {last[one.app, conversation]} earlier"
                    )
                last[one.app, conversation] = seq

    def _marks(self) -> dict[tuple[str, str], tuple[int, int]]:
        """(conversation, user) → the highest (received, read) that gateways have taken."""
        marks: dict[tuple[str, str], tuple[int, int]] = {}
        for number in range(self._world.shape.partitions):
            for record in self._world.broker.read_all(RECEIPTS, number):
                for item in decode_receipts(record.value).items:
                    if isinstance(item, Receipt):
                        place = item.conversation, item.user
                        received, read = marks.get(place, (0, 0))
                        marks[place] = (
                            max(received, item.seq),
                            max(read, item.seq) if item.read else read,
                        )
        return marks

    def _app(
        self,
        app: "App",
        truth: dict[str, list[Shown]],
        marks: dict[tuple[str, str], tuple[int, int]],
    ) -> Iterator[str]:
        assert app.client is not None
        device = app.client.device
        mine = {name: all_ for name, all_ in truth.items() if app.user in members_of_valid(name)}
        for name in app.shown.keys() - mine.keys():
            yield f"{app.label} shows {name}, which is not its user's, or not in the log"
        for name, messages in mine.items():
            other = next(user for user in members_of_valid(name) if user != app.user)
            yield from _shown(app, name, messages)
            yield from _opened(app, name, messages)
            mark = device.mark(name, other)
            true = marks.get((name, other), (0, 0))
            if (mark.received, mark.read) != true and not self.may_be_blocked(other, app.user):
                yield (
                    f"{app.label} shows that {other} has received {name} {mark.received} and read"
                    f" {mark.read}; by {RECEIPTS} it is {true[0]} and {true[1]}"
                )
            read = marks.get((name, app.user), (0, 0))[1]
            if device.unread(name) != len(messages) - read:
                yield (
                    f"{app.label} shows {device.unread(name)} of {name} as unread; by {RECEIPTS}"
                    f" {app.user} has read {read} of {len(messages)}"
                )
        for (name, is_read), seq in app.claims.items():
            if marks.get((name, app.user), (0, 0))[is_read] < seq:
                did = "read" if is_read else "received"
                yield f"{app.label} has {did} {name} {seq}; {RECEIPTS} does not have it"

    def _decisions(
        self,
        app: "App",
        truth: dict[str, list[Shown]],
        marks: dict[tuple[str, str], tuple[int, int]],
        stances: dict[tuple[str, str], bool],
    ) -> Iterator[str]:
        """What was decided, and what an app may see of who has blocked its user."""
        assert app.client is not None
        device = app.client.device
        blocked = {other for (user, other), is_ in stances.items() if is_ and user == app.user}
        if device.blocked != blocked:
            yield (
                f"{app.label} shows that {app.user} has blocked {sorted(device.blocked)}; by"
                f" {PEOPLE} it is {sorted(blocked)}"
            )
        for (user, other), is_ in stances.items():
            name = ":".join(sorted((user, other)))
            if other != app.user or name not in truth:
                continue
            read, may_show = device.mark(name, user).read, marks.get((name, user), (0, 0))[1]
            if app.name == "last":  # it came when all had been quiet for a while
                if read != (0 if is_ else may_show):
                    yield (
                        f"{app.label} shows that {user}, who has{'' if is_ else ' not'} blocked"
                        f" {other}, has read {name} {read} of {may_show}"
                    )
            elif read > may_show:
                yield f"{app.label} shows that {user} has read {name} {read}, not {may_show}"

    def _presence(self, stances: dict[tuple[str, str], bool]) -> Iterator[str]:
        online = self._world.people.online()
        last_seen: dict[str, int] = {}
        for app in self._world.people.here:
            assert app.client is not None
            for user in app.client.device.watched:
                known = app.client.device.presence.get(user)
                if known is not None and stances.get((user, app.user)):
                    if known.online or known.last_seen:
                        yield f"{app.label} sees the presence of {user}, who has blocked them"
                elif known is None:
                    yield f"{app.label} does not know whether {user} is online"
                elif known.online != online[user]:
                    shown, true = _online(known.online), _online(online[user])
                    yield f"{app.label} shows {user} {shown}; {user} is {true}"
                elif not known.online and known.last_seen != last_seen.setdefault(
                    user, known.last_seen
                ):
                    others = _when(self._world, last_seen[user])
                    yield (
                        f"{app.label} shows {user} last seen {_when(self._world, known.last_seen)};"
                        f" another device shows {others}"
                    )

    def _archive(self, truth: dict[str, list[Shown]]) -> Iterator[str]:
        if "archiver" not in self._world.shape.stages:
            return
        rows = self._world.archive.rows
        for conversation, messages in truth.items():
            for message in messages:
                row = rows.get((conversation, message.seq))
                if row is None:
                    yield f"{conversation} {message.seq} is not in the archive"
                elif (row.sender, row.key.hex(), row.body, row.changes) != (
                    *message[1:3],
                    "" if message.changes else message.body,
                    message.changes,
                ):
                    yield (
                        f"the archive has {row.body!r} of {row.sender} as {conversation}"
                        f" {message.seq}; the log has {message.body!r} of {message.sender}"
                    )
        logged = {(name, message.seq) for name, messages in truth.items() for message in messages}
        for conversation, seq in sorted(rows.keys() - logged):
            yield f"the archive has {conversation} {seq}; the log does not"


def _numbers(truth: dict[str, list[Shown]]) -> Iterator[str]:
    for conversation, messages in truth.items():
        seqs = [message.seq for message in messages]
        if seqs != list(range(1, len(messages) + 1)):
            yield f"the log numbers {conversation} {seqs}, and not 1, 2, 3 …"


def _contradictions(world: "World", truth: dict[str, list[Shown]]) -> list[str]:
    """What can never become right, of a log that waits for an operator."""
    wrong = list(_numbers(truth))
    for app in world.people.here:
        for name, shown in app.shown.items():
            logged = {message.seq: message for message in truth.get(name, ())}
            wrong += [
                f"{app.label} shows {name} {one.seq} {one.body!r}; the log has {logged[one.seq]}"
                for one in shown
                if one.seq in logged
                and (logged[one.seq][:3] != one[:3] or not one.version)
                and logged[one.seq] != one
            ]
    return wrong


def _shown(app: "App", name: str, messages: Sequence[Shown]) -> Iterator[str]:
    shown = app.shown.get(name, [])
    first = shown[0].seq if shown else len(messages) + 1
    history = app.history.get(name, 0)
    if first - 1 > history:
        yield (
            f"{app.label} does not show {name} {_span(history + 1, first - 1)}, and that is no"
            " history from before its start"
        )
        return
    for is_, must in zip_longest(shown, messages[first - 1 :]):
        if is_ is None:
            yield f"{app.label} does not show {name} {_span(must.seq, len(messages))}"
        elif must is None:
            yield f"{app.label} shows {name} {is_.seq} {is_.body!r}; the log does not have it"
        elif is_ != must:
            yield (
                f"{app.label} shows {name} {is_.seq} {is_.body!r} of {is_.sender}; the log has"
                f" {must.seq} {must.body!r} of {must.sender}"
            )
        else:
            continue
        return


def _opened(app: "App", name: str, messages: Sequence[Shown]) -> Iterator[str]:
    """A conversation that was opened when nobody wrote any more."""
    known, shown = app.opened.get(name, (len(messages), messages))
    if known != len(messages):
        yield f"{app.label} opens {name}, and hears that its last seq is {known}"
    must = list(messages)[len(messages) - len(shown) :]
    if list(shown) != must or not shown:
        seqs = [one.seq for one in shown]
        yield f"{app.label} opens {name}, and sees {seqs} or not what the log has there"


def _span(first: int, last: int) -> str:
    return f"{first} to {last}" if first < last else str(first)


def _twice(body: str, one: tuple[str, int], two: tuple[str, int]) -> str:
    if one[0] == two[0]:
        return f"{body!r} has two numbers: {one[0]} {one[1]} and {two[1]}"
    return f"{body!r} is in two conversations: {one[0]} {one[1]} and {two[0]} {two[1]}"


def _not_the_fold(partition: int, taken: Sequence[Taken], expected: Sequence[Taken]) -> str:
    is_, must = next(pair for pair in zip_longest(taken, expected) if pair[0] != pair[1])
    gives = _place(must) if must else "nothing more"
    return (
        f"{LOG}/{partition} is not the fold of its input: it has {_place(is_)}, and the fold gives"
        f" {gives}"
    )


def _place(item: Taken) -> str:
    return (
        f"{item.conversation} {item.seq} {item.body!r} ← {SUBMITTED} offset {item.offset},"
        f" ordinal {item.ordinal} of outbox {item.outbox.hex()[:4]}"
    )


def _online(is_: bool) -> str:
    return "online" if is_ else "offline"


def _when(world: "World", ms: int) -> str:
    """A time in ms since 1970, as the trace writes it."""
    return f"at {(ms - world.now()) / 1000 + world.loop.time():.3f} s" if ms else "never"
