"""What must hold, whatever happened: on the way, and when nothing is left to do.

The log is dense, each message stands in it once and in its sender's order, and it is the fold of
the input, by the fold that `messenger audit` has of its own. Every device shows what the log says:
messages, marks, unread counts, who is there. The archive equals the log, and `memberships` has
everybody who has a conversation. Each partition has a snapshot. Everything drains, and no task has
died unseen.
"""

from collections.abc import Iterable, Iterator, Set
from typing import TYPE_CHECKING, Literal, NamedTuple

from agents.rules.people import is_late
from messenger_sdk import SentMessage
from schemas.codec import (
    EVERYBODY,
    decode_membership,
    decode_people,
    decode_person,
    decode_receipts,
)
from schemas.events import Membership, PersonState, Receipt
from schemas.ids import members_of_valid, partition_of, peer_of
from schemas.topics import (
    DEAD_LETTERS,
    LOG,
    MEMBERSHIPS,
    PEOPLE,
    PEOPLE_SUBMITTED,
    RECEIPTS,
    SUBMITTED,
)
from simulation import notified
from simulation.judged_apps import Truth, contradictions, deviations, presence_deviations
from simulation.judged_log import JudgedLog
from simulation.shown import Shown, changed, shown_of
from simulation.snapshots import undamaged
from simulation.stances import Stances

if TYPE_CHECKING:
    from simulation.world import World


class Decision(NamedTuple):
    """`user` has blocked `other`, or has them as a contact, or does so no more (`is_`), when
    `people` ended at `end`."""

    user: str
    other: str
    kind: Literal["blocked", "contact"]
    is_: bool
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


class Judge:
    """Collects what is wrong in a world. `found` is called by whoever sees something."""

    def __init__(self, world: "World") -> None:
        self.faults: list[str] = []
        self.submitted: list[Submitted] = []
        self.knocks: dict[str, bool] = {}
        """Bodies that were sent when all was quiet → whether the recipient does not take them."""
        self._hides: set[tuple[str, str]] = set()
        """Who has ever tried to block whom, or to hide what they read from EVERYBODY."""
        self._world = world
        self._logs = [JudgedLog(world.broker, number) for number in range(world.shape.partitions)]

    def found(self, what: str) -> None:
        """Something is wrong that can never become right."""
        self._world.loop.tell(f"the judge finds: {what}")
        self.faults.append(what)

    def decides(
        self, user: str, other: str, kind: Literal["blocked", "contact"], is_: bool
    ) -> Decision:
        """A person begins to say so."""
        if kind == "blocked" and is_:
            self._hides.add((user, other))
        return Decision(user, other, kind, is_, len(self._people(user)))

    def decided(self, app: str, decision: Decision) -> None:
        """The app has heard that a decision counts."""
        user, other, kind, is_, end = decision
        since = self._people(user)[end:]
        if not any(one.other == other and getattr(one, kind) == is_ for one in since):
            self.found(f"{app} has heard {decision}, and {PEOPLE} does not have it")

    def begins_to_hide(self, user: str) -> None:
        """A person begins to say that others must not see what they have read."""
        self._hides.add((user, EVERYBODY))

    def may_be_refused(self, user: str, other: str) -> bool:
        """Whether `user` has ever tried to block `other`, or strangers have to ask."""
        return (user, other) in self._hides or self._world.shape.policy == "requests"

    def stances(self) -> Stances:
        """By `people`."""
        latest: dict[tuple[str, str], PersonState] = {}
        for user in self._world.people.users:
            for state in self._people(user):
                known = latest.get((user, state.other))
                if state.user == user and (known is None or not is_late(state, known)):
                    latest[user, state.other] = state
        return latest

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
            messages = self.messages()
            wrong += _numbers(messages)
            for app in self._world.people.here:
                wrong += contradictions(app, messages)
            return wrong
        if not wrong:
            wrong += self._undone()
        if not wrong:
            logged = self.messages()
            wrong += _numbers(logged)
            wrong += self._sends(logged)
            wrong += self._knocks(logged)
            messages = {name: changed(messages) for name, messages in logged.items()}
            states = [one for user in self._world.people.users for one in self._people(user)]
            accepted = self._accepted()
            wrong += self._strangers(accepted)
            hides = self._hides | {(one.user, one.other) for one in states if one.request}
            truth = Truth(messages, self._marks(), self.stances(), hides, accepted)
            for conversation, user in sorted(truth.marks):
                if conversation not in messages:
                    wrong.append(f"{RECEIPTS} has {user} in {conversation}, where nobody wrote")
            for app in self._world.people.here:
                wrong += deviations(app, truth)
            wrong += self._memberships(messages)
            wrong += presence_deviations(self._world, truth.stances)
            wrong += self._archive(messages)
            if "notifier" in self._world.shape.stages:
                wrong += notified.wrong(self._world, truth)
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
        for body, refused in self.knocks.items():
            if refused == (body in logged):
                does, may = ("has", "may not") if refused else ("does not have", "may")
                yield f"the log {does} {body!r}; its sender {may} write"

    def _accepted(self) -> set[tuple[str, str]]:
        """Who has ever had whom as a contact. `people` does not say it: of changes that are folded
        together it has the outcome only."""
        broker = self._world.broker
        return {
            (change.user, change.other)
            for number in range(self._world.shape.partitions)
            for record in broker.read_all(PEOPLE_SUBMITTED, number)
            for change in decode_people(record.value).items
            if change.contact
        }

    def _strangers(self, accepted: Set[tuple[str, str]]) -> Iterator[str]:
        """A stranger who was never accepted has sent one message at most."""
        if self._world.shape.policy != "requests":
            return
        sent: dict[tuple[str, str], int] = {}
        for item in (item for log in self._logs for item in log.taken):
            if item.seq and item.changes is None:
                pair = peer_of(item.conversation, item.sender), item.sender
                sent[pair] = sent.get(pair, 0) + 1
        for (user, other), count in sent.items():
            if count > 1 and (user, other) not in accepted:
                yield f"{user} has {count} messages of {other}, and has never accepted them"

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
            refused = one.sent is None and self.may_be_refused(one.to, one.sender)
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


def _twice(body: str, one: tuple[str, int], two: tuple[str, int]) -> str:
    if one[0] == two[0]:
        return f"{body!r} has two numbers: {one[0]} {one[1]} and {two[1]}"
    return f"{body!r} is in two conversations: {one[0]} {one[1]} and {two[0]} {two[1]}"
