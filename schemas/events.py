"""Values of Kafka records: msgpack arrays, one class a kind. schemas/topics/*.yaml says who writes
and reads them.

The first element of every record is its schema version. Outbox ids and keys are 16 bytes, times are
milliseconds of log time, offsets are those of `messages.submitted`.
"""

from typing import Annotated

from msgspec import Meta, Struct

SCHEMA_VERSION = 1

Text = Annotated[str, Meta(min_length=1, max_length=129)]
Id16 = Annotated[bytes, Meta(min_length=16, max_length=16)]
Counted = Annotated[int, Meta(ge=1, le=2**53 - 1)]


class _Event(Struct, array_like=True, gc=False, frozen=True):
    pass


# messages.submitted


class MessageSubmitted(_Event, tag=0, frozen=True):
    conversation: Text
    sender: Text
    device: Text
    outbox: Id16
    ordinal: Counted
    key: Id16
    round: int
    body: str


class RefusalSubmitted(_Event, tag=1, frozen=True):
    """A final refusal by the gateway: it uses up the ordinal as a message would."""

    conversation: Text
    sender: Text
    device: Text
    outbox: Id16
    ordinal: Counted
    key: Id16
    round: int
    code: Annotated[int, Meta(ge=1, le=999)]


class FoldSwitched(_Event, tag=2, frozen=True):
    """A control record, always alone: from here on the fold numbers by this version."""

    fold_version: int


SubmittedItem = MessageSubmitted | RefusalSubmitted
Submitted = MessageSubmitted | RefusalSubmitted | FoldSwitched


class SubmittedRecord(_Event, frozen=True):
    version: int
    items: list[Submitted]


# messages: the conversation log


class Taken(_Event, frozen=True):
    """One taken ordinal: a message with `seq` >= 1 and code 0, or a refusal with seq 0, a code and
    no body."""

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


class LogRecord(_Event, rename={"from_": "from"}, frozen=True):
    """The fold of input offsets from_..to. `time` is the log time after it, `delivered` the d of
    rule R5 at the append.

    `input_time` and `input_crc` are broker time and CRC-32 of input record `to`, so that a state
    rebuilt from the log alone can still tell whether the input is the one it was folded from (R3).
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


# receipts.submitted


class Receipt(_Event, tag=0, frozen=True):
    """A device of `user` has received all up to `seq`; or, if `read`, the person has read it
    there."""

    conversation: Text
    user: Text
    device: Text
    seq: Counted
    read: bool


class DeviceForgotten(_Event, tag=1, frozen=True):
    """A device was logged out: what it had read is no longer kept by device. To every partition."""

    user: Text
    device: Text


class ReceiptRecord(_Event, frozen=True):
    version: int
    items: list[Receipt | DeviceForgotten]


# cursors


class CursorRecord(_Event, frozen=True):
    """One cursor: `device` names whose reading it is, RECEIVED what any device of the user has
    received, READ what the person has read anywhere. `seq` 0: forgotten. `time` is the broker's, in
    ms, of the receipt that raised it."""

    version: int
    conversation: str
    user: str
    device: str
    seq: int
    time: int


RECEIVED, READ = "", "*"
"""No device can be called so."""


# presence.submitted


class PresenceChange(_Event, frozen=True):
    """`user` has a device on this node (`online`), or has none any more. Nodes have a new id at
    each start, and say all again when they have been without a lease. A record has one change a
    user."""

    user: Text
    node: Text
    online: bool


class PresenceRecord(_Event, frozen=True):
    version: int
    items: list[PresenceChange]


# presence


class PresenceState(_Event, frozen=True):
    """The nodes a user is online on; if none, `last_seen` says since when (ms, 0: never).

    It is what nodes said of the user up to record `offset` of `presence.submitted`, whose id in
    Kafka is `topic`, without the nodes that have died since.
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

    def outdoes(self, other: "PresenceState") -> bool:
        """Whether this is the later of two states of a user: one owner of a partition may have been
        paused, and be behind the other. A node is never found dead before it has said its last, so
        of two that know the same the one without it is."""
        if self.topic != other.topic:
            return True
        if self.offset != other.offset:
            return self.offset > other.offset
        return set(self.nodes) < set(other.nodes)


# deliveries


class MessageDelivered(_Event, tag=0, frozen=True):
    """One message to every device that `users` have on this gateway, save the one that sent it
    (sender, device).

    `frame` is the finished JSON frame.
    """

    conversation: str
    seq: int
    sender: str
    device: str
    users: list[str]
    frame: bytes


class AnswerDelivered(_Event, tag=1, frozen=True):
    """A finished JSON frame (sent, refused, out_of_step) for one device."""

    user: str
    device: str
    frame: bytes


class MarkDelivered(_Event, tag=2, frozen=True):
    """A finished `mark` frame to every device that `users` have on this gateway."""

    users: list[str]
    frame: bytes


class DeviceLoggedOut(_Event, tag=3, frozen=True):
    """Close the sockets of a device."""

    user: str
    device: str


class PresenceDelivered(_Event, tag=4, frozen=True):
    """A finished `presence` frame to every device on this gateway that watches `user`, and the
    state it shows."""

    user: str
    frame: bytes
    state: PresenceState | None = None


class TypingDelivered(_Event, tag=5, frozen=True):
    """A finished `user_typing` frame to every device of `user` on this gateway that watches
    `typist`."""

    user: str
    typist: str
    frame: bytes


class SessionReplaced(_Event, tag=6, frozen=True):
    """Close the session of a device that came at `since` (ms): it has a later one on another
    gateway."""

    user: str
    device: str
    since: int


Delivered = (
    MessageDelivered
    | AnswerDelivered
    | MarkDelivered
    | DeviceLoggedOut
    | PresenceDelivered
    | TypingDelivered
    | SessionReplaced
)


class DeliveryRecord(_Event, frozen=True):
    version: int
    events: list[Delivered]


# dead-letters


class DeadLetter(_Event, frozen=True):
    """What cannot be read: `index` is the item's place in its record, -1 for the whole record;
    `code` a reply code."""

    version: int
    topic: str
    partition: int
    offset: int
    index: int
    code: int
    value: bytes
