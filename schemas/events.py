"""Values of Kafka records: msgpack arrays, one class for each kind of record.

schemas/topics/*.yaml names the writers and readers of each. The first element of every record is
its schema version. Outbox ids and idempotency keys are 16 bytes. Unless a docstring says otherwise,
`time` is log time in ms and `offset` an offset of `messages.submitted`.
"""

from enum import IntEnum
from typing import Annotated

from msgspec import Meta, Struct

SCHEMA_VERSION = 1
CHANGES_VERSION = 2
"""Of a record of `messages.submitted` with a change in it: code that knows no changes would set it
aside, so it must halt instead."""

Text = Annotated[str, Meta(min_length=1, max_length=129)]
Id16 = Annotated[bytes, Meta(min_length=16, max_length=16)]
Counted = Annotated[int, Meta(ge=1, le=2**53 - 1)]


class _Event(Struct, array_like=True, gc=False, frozen=True):
    pass


# messages.submitted


class Changed(_Event, frozen=True):
    """The message that a change is about: its number, key and log time (ms)."""

    seq: Counted
    key: Id16
    time: int


class MessageSubmitted(_Event, tag=0, frozen=True):
    conversation: Text
    sender: Text
    device: Text
    outbox: Id16
    ordinal: Counted
    key: Id16
    round: int
    body: str


class ChangeSubmitted(MessageSubmitted, tag=5, frozen=True):
    """`body` is the new text of an earlier message of this sender; an empty one deletes that."""

    changes: Changed

    @property
    def deletes(self) -> bool:
        return not self.body


class RefusalSubmitted(_Event, tag=1, frozen=True):
    """A gateway refuses a message for good. The refusal uses up the ordinal, as the message would
    have done. `code` is a reply code."""

    conversation: Text
    sender: Text
    device: Text
    outbox: Id16
    ordinal: Counted
    key: Id16
    round: int
    code: Annotated[int, Meta(ge=1, le=999)]


class FoldSwitched(_Event, tag=2, frozen=True):
    """A control record, alone in its record: from here on the fold follows this fold version."""

    fold_version: int


class InputSkipped(_Event, tag=3, frozen=True):
    """A control record, alone in its record: an operator sets the input offsets `first` to `last`,
    which come before it, aside. The partition was halted there. `at` is the time of day in ms."""

    first: int
    last: int
    who: str
    why: str
    at: int


class PartitionResumed(_Event, tag=4, frozen=True):
    """A control record, alone in its record: an operator lets a halted partition try again."""

    who: str
    why: str
    at: int


SubmittedItem = MessageSubmitted | ChangeSubmitted | RefusalSubmitted
CONTROLS = frozenset((FoldSwitched, InputSkipped, PartitionResumed))
"""They stand alone, and take no ordinal."""
Submitted = SubmittedItem | FoldSwitched | InputSkipped | PartitionResumed


class SubmittedRecord(_Event, frozen=True):
    """`slot` is that of the gateway node, −1 if it is not known. The fold does not look at it."""

    version: int
    items: list[Submitted]
    slot: int = -1


# messages: the conversation log


class Taken(_Event, frozen=True):
    """One ordinal that the fold took from the input record at `offset`.

    Either a message, with `seq` >= 1 and code 0, or a refusal, with seq 0, a reply code and no
    body. With `changes` it is a change, as ChangeSubmitted.
    """

    offset: int
    time: int
    conversation: str
    sender: str
    device: str
    outbox: bytes
    ordinal: int
    key: bytes
    seq: int
    code: int
    body: str
    changes: Changed | None = None


class LogRecord(_Event, rename={"from_": "from"}, frozen=True):
    """The fold of input offsets `from_` to `to`.

    `time` is the log time after the fold; `delivered` is the delivered offset d at the append (R5).
    `input_time` and `input_crc` are the broker time and the CRC-32 of input record `to`: a worker
    that rebuilds its state from the log alone still notices that the input was replaced (R3).
    `partitions`: how many the log has; a conversation is in one of them (0: an older version did
    not say it).
    """

    version: int
    fold_version: int
    from_: int
    to: int
    time: int
    delivered: int
    input_time: int
    input_crc: int
    taken: list[Taken]
    partitions: int = 0


# receipts.submitted


class Receipt(_Event, tag=0, frozen=True):
    """`device` of `user` has shown all messages of `conversation` up to `seq`. If `read`, the
    person has read them there, too."""

    conversation: Text
    user: Text
    device: Text
    seq: Counted
    read: bool


class DeviceForgotten(_Event, tag=1, frozen=True):
    """A device was logged out: delete its cursors. A gateway sends this to every partition."""

    user: Text
    device: Text


class Unreached(_Event, tag=2, frozen=True):
    """When the notifier looked, `user` had no device connected for message `seq` of `sender`.
    `time` is its log time; `text` is its beginning, as long as the operator allows."""

    conversation: Text
    user: Text
    sender: Text
    seq: Counted
    time: int
    text: str


class ReceiptRecord(_Event, frozen=True):
    version: int
    items: list[Receipt | DeviceForgotten | Unreached]


# cursors


class CursorRecord(_Event, frozen=True):
    """One cursor of `user` in `conversation`.

    `device` is RECEIVED for what any device of the user has received, READ for what the person has
    read on any device, NOTIFIED for the last message of which there is a notification, or a device
    id for what the person has read on that device. `seq` 0 deletes the cursor. `time` (ms) is the
    broker's time of the receipt that raised it.
    """

    version: int
    conversation: str
    user: str
    device: str
    seq: int
    time: int


RECEIVED, READ, NOTIFIED = "", "*", "!"
"""None is a valid device id."""


# notifications


class NotificationRaised(_Event, tag=0, frozen=True):
    """Message `seq` of `sender` found no device of `user` connected. `unread` is how many messages
    of the conversation the user has not read, with this one. `time` and `text` as in Unreached.

    (conversation, seq) names the notification: a repeat has the same."""

    conversation: str
    user: str
    sender: str
    seq: int
    time: int
    unread: int
    text: str


class NotificationsCancelled(_Event, tag=1, frozen=True):
    """`user` has read the conversation up to message `up_to`, on whatever device: the notifications
    up to there are over. `unread` counts up to the last message of which there is one."""

    conversation: str
    user: str
    up_to: int
    unread: int


Notification = NotificationRaised | NotificationsCancelled


class NotificationRecord(_Event, frozen=True):
    version: int
    notification: Notification


# presence.submitted


class PresenceChange(_Event, frozen=True):
    """`user` has a device on `node` (`online`), or has none any more.

    A node has a new id at each start. It publishes all its users again after it was without a
    lease. A record holds at most one change of each user.
    """

    user: Text
    node: Text
    online: bool


class PresenceRecord(_Event, frozen=True):
    version: int
    items: list[PresenceChange]


# presence


class PresenceState(_Event, frozen=True):
    """The nodes on which a user is online. If there are none, `last_seen` (ms) says since when
    (0: the user never was).

    The state covers the records of `presence.submitted` up to `offset`, and leaves out nodes that
    have died since. `topic` is Kafka's id of that topic.
    """

    version: int
    user: str
    nodes: tuple[str, ...]
    last_seen: int
    topic: str = ""
    offset: int = -1

    @property
    def online(self) -> bool:
        return bool(self.nodes)

    def supersedes(self, other: "PresenceState") -> bool:
        """Whether this state is later than `other`, a state of the same user.

        Two owners of a partition may both write states, since one of them may have been paused. Of
        two states up to the same offset, the one with fewer nodes is later: a node is found dead
        only after its last record. If both owners found the same node dead, the owner that came
        later began to count its absence later, so the later `last_seen` is its.
        """
        if self.topic != other.topic:
            return True
        if self.offset != other.offset:
            return self.offset > other.offset
        if self.nodes == other.nodes:
            return self.last_seen > other.last_seen
        return set(self.nodes) < set(other.nodes)


# people.submitted


class PersonChange(_Event, frozen=True):
    """`user` decides something about `other`, or, if that is empty, for everybody. What is None
    stays as it is. `presence` is a PresenceShown. `request` is not decided by `user`: it is the key
    of the one message that `other` may send until `user` accepts them."""

    user: Text
    other: Annotated[str, Meta(max_length=129)]
    blocked: bool | None = None
    contact: bool | None = None
    presence: int | None = None
    hides_reads: bool | None = None
    request: Id16 | None = None
    declined: bool | None = None


class PeopleRecord(_Event, frozen=True):
    version: int
    items: list[PersonChange]


# people


class PresenceShown(IntEnum):
    """Who sees whether a user is there, and types."""

    EVERYONE = 0
    CONTACTS = 1
    NOBODY = 2


class PersonState(_Event, frozen=True):
    """What `user` has decided about `other` (empty: for everybody), up to record `offset` of
    `people.submitted`, whose Kafka id is `topic`. `presence` is a PresenceShown. `dropped`: nothing
    is decided any more, and nobody needs to remember that. `request`: the key of the one message
    that `other` may send, as long as they are not accepted; `user` may have `declined` it."""

    version: int
    user: str
    other: str
    blocked: bool
    topic: str = ""
    offset: int = -1
    dropped: bool = False
    contact: bool = False
    presence: int = 0
    hides_reads: bool = False
    request: bytes = b""
    declined: bool = False

    @property
    def says_nothing(self) -> bool:
        """`user` has decided nothing that somebody could notice. They may have been asked."""
        return not (self.blocked or self.contact or self.presence or self.hides_reads)

    @property
    def is_default(self) -> bool:
        """There is nothing that somebody could notice."""
        return self.says_nothing and not self.request

    @property
    def asks(self) -> bool:
        """A request of `other` waits for what `user` decides."""
        return bool(self.request) and self.says_nothing and not self.declined


# memberships


class Membership(_Event, tag=0, frozen=True):
    """`user` has a conversation in this partition of the log."""

    user: Text
    partition: int


class AllSaid(_Event, tag=1, frozen=True):
    """Whoever had a conversation in this partition of the log when its sequencer wrote this, has a
    Membership in this topic, or gets one before the conversation's first message counts as
    delivered. `topic` is Kafka's id of the topic in which the sequencer has said so: in a topic
    that was created anew, an AllSaid for the old one does not count."""

    partition: int
    topic: str


class MembershipRecord(_Event, frozen=True):
    version: int
    fact: Membership | AllSaid


# snapshots


class SnapshotConversation(_Event, tag=0, frozen=True):
    """The last seq of a conversation, and its time."""

    conversation: Text
    seq: Counted
    time: int


class SnapshotAnswer(_Event, frozen=True):
    """The answer to a taken ordinal, as in `Taken`."""

    ordinal: Counted
    key: Id16
    seq: int
    code: int
    time: int


class SnapshotOutbox(_Event, tag=1, frozen=True):
    """The last ordinal that was taken from an outbox, and its time. `answers` are those to the last
    64 ordinals, in order."""

    conversation: Text
    sender: Text
    outbox: Id16
    ordinal: Counted
    time: int
    answers: list[SnapshotAnswer]


SnapshotRow = SnapshotConversation | SnapshotOutbox


class SnapshotChunk(_Event, frozen=True):
    """Part `number` (0, 1, 2 …) of the snapshot with the id `snapshot`."""

    version: int
    snapshot: str
    number: int
    rows: list[SnapshotRow]


class ChunkPlace(_Event, frozen=True):
    """Where a chunk is in its partition of `snapshots.chunks`, and the CRC-32 of its value."""

    offset: int
    crc: int


class SnapshotRecord(_Event, frozen=True):
    """A snapshot that is whole: its chunks hold the fold of log[0..`log_offset`].

    `id` is of one attempt to write one. `written` is the writer's clock in ms. `partitions` is how
    many partitions the log has. `log_topic`, `input_topic` and `chunks_topic` are Kafka's ids of
    `messages`, `messages.submitted` and `snapshots.chunks`. `log_crc` is the CRC-32 of log record
    `log_offset`. From `position` to `members_said` it is as in
    streams/tables/sequences.py:Header. All chunks are at `chunks_from` or later. `crc` is the
    CRC-32 of this record's value with `crc` 0.
    """

    version: int
    id: str
    written: int
    partitions: int
    log_topic: str
    input_topic: str
    log_offset: int
    log_crc: int
    position: int
    input_time: int
    input_crc: int
    time: int
    fold_version: int
    redeliver_from: int
    delivered: int
    members_said: str
    rows: int
    bytes: int
    chunks_topic: str
    chunks_from: int
    chunks: list[ChunkPlace]
    crc: int = 0


# revocations


class Revocation(_Event, frozen=True):
    """Tokens of `user` that were made before `before` (ms) do not count: on `device`, or on any if
    it is empty. `logged_out`: the user did it, by logging the device out."""

    version: int
    user: Text
    device: Annotated[str, Meta(max_length=64)]
    before: Annotated[int, Meta(ge=0, le=2**53 - 1)]
    logged_out: bool = False


# deliveries


class MessageDelivered(_Event, tag=0, frozen=True):
    """A message for every device that `users` have on this gateway, except the device that sent it
    (sender, device). `frame` is the encoded `message` frame."""

    conversation: str
    seq: int
    sender: str
    device: str
    users: list[str]
    frame: bytes


class AnswerDelivered(_Event, tag=1, frozen=True):
    """An encoded `sent`, `refused` or `out_of_step` frame for one device."""

    user: str
    device: str
    frame: bytes


class MarkDelivered(_Event, tag=2, frozen=True):
    """An encoded `mark` frame for every device that `users` have on this gateway. It is the mark of
    the user `of`."""

    users: list[str]
    frame: bytes
    of: str = ""


class DeviceLoggedOut(_Event, tag=3, frozen=True):
    """Close the connection of a device, because it was logged out."""

    user: str
    device: str


class PresenceDelivered(_Event, tag=4, frozen=True):
    """An encoded `presence` frame for every device on this gateway that watches `user`, and the
    state from which it was made."""

    user: str
    frame: bytes
    state: PresenceState | None = None


class TypingDelivered(_Event, tag=5, frozen=True):
    """An encoded `user_typing` frame for every device of `user` on this gateway that watches
    `typist`."""

    user: str
    typist: str
    frame: bytes


class SessionReplaced(_Event, tag=6, frozen=True):
    """Close the session of a device that connected at `since` (ms, by Redis' clock): the device has
    a later session on another gateway. A session with another `since` stays."""

    user: str
    device: str
    since: int


class SlotTaken(_Event, tag=7, frozen=True):
    """`node` has taken the slot of this partition, alone in its record. Another node that reads it
    has the slot no more."""

    node: str


class DeliveriesMissed(_Event, tag=8, frozen=True):
    """Marks or presence for devices of this gateway were dropped, while the slot did not
    acknowledge what was sent to it. All its devices have to ask what they have missed."""


class DeviceDisconnected(_Event, tag=9, frozen=True):
    """Close the connection of a device of `user`, or of all of them if `device` is empty, because
    an operator says so."""

    user: str
    device: str


class PersonDelivered(_Event, tag=10, frozen=True):
    """`user` has decided something about `other`: an encoded `person` frame for every device that
    `user` has on this gateway. What the gateway knew of it for `other` counts no more."""

    user: str
    other: str
    frame: bytes


Delivered = (
    MessageDelivered
    | AnswerDelivered
    | MarkDelivered
    | DeviceLoggedOut
    | PresenceDelivered
    | TypingDelivered
    | SessionReplaced
    | SlotTaken
    | DeliveriesMissed
    | DeviceDisconnected
    | PersonDelivered
)


class DeliveryRecord(_Event, frozen=True):
    version: int
    events: list[Delivered]


# dead-letters


class DeadLetter(_Event, frozen=True):
    """A record, or one item of it, that the decoder refuses.

    `topic`, `partition` and `offset` name the record. `index` is the place of the item, -1 for the
    whole record. `code` is a reply code.
    """

    version: int
    topic: str
    partition: int
    offset: int
    index: int
    code: int
    value: bytes
