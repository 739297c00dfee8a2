"""Judges what gateways were told to push: each message and each `sent` must be the input's."""

from ops.audit.claims import Claim, Claims
from ops.audit.partition_state import CannotJudge, KafkaRecord
from ops.audit.recent import content
from ops.audit.verdict import Place, Verdict
from schemas.codec import (
    NewerVersion,
    Undecodable,
    decode_deliveries,
    decode_server_frames,
)
from schemas.events import AnswerDelivered, MessageDelivered
from schemas.frames import Message, Sent
from schemas.ids import members_of_valid
from schemas.topics import DELIVERIES


class DeliveryJudge:
    """Judges records of `deliveries`, and makes claims of the messages in them."""

    def __init__(self, verdict: Verdict, claims: Claims) -> None:
        self._verdict = verdict
        self._claims = claims

    def read(self, slot: int, record: KafkaRecord) -> None:
        """Judge one record. Raises CannotJudge."""
        place = Place(DELIVERIES, slot, record.offset)
        try:
            for event in decode_deliveries(record.value).events:
                if type(event) is MessageDelivered:
                    self._message(place, event)
                elif type(event) is AnswerDelivered:
                    self._answer(place, event)
        except NewerVersion as error:
            raise CannotJudge(f"{place}: {error}") from None
        except Undecodable as error:
            self._check_readable(place, error)

    def _message(self, place: Place, event: MessageDelivered) -> None:
        self._verdict.figures["deliveries"] += 1
        place = place._replace(conversation=event.conversation, seq=event.seq)
        for frame in decode_server_frames(event.frame):
            if isinstance(frame, Message):
                self._check_address(place, event, frame)
                said = content(frame.key, frame.time, frame.sender, frame.body)
                self._claims.add(Claim(place, "delivered", said))

    def _answer(self, place: Place, event: AnswerDelivered) -> None:
        for frame in decode_server_frames(event.frame):
            if isinstance(frame, Sent):
                place = place._replace(conversation=frame.conversation, seq=frame.seq)
                said = content(frame.key, frame.time, event.user, "")
                self._claims.add(Claim(place, "answered", said, has_body=False))

    # Each check adds to the verdict what it finds, and nothing else depends on it.

    def _check_readable(self, place: Place, error: Undecodable) -> None:
        self._verdict.add("phantom", f"no delivery record: {error}", place)

    def _check_address(self, place: Place, event: MessageDelivered, frame: Message) -> None:
        """The event says what its frame says, and only to members."""
        named = event.conversation, event.seq, event.sender
        if (frame.conversation, frame.seq, frame.sender) != named:
            self._verdict.add(
                "inconsistent-offsets", "the event says another message than its frame", place
            )
        if not set(event.users) <= set(members_of_valid(event.conversation)):
            self._verdict.add("phantom", "it is delivered to people who are no members", place)
