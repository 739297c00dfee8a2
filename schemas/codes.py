"""Numbered codes: what went wrong, and whether the device should try again.

`error` and `refused` frames and dead letters carry reply codes (100-199). Close codes are WebSocket
close codes: 4000-4499 mean "reconnect and resume", 4500-4999 "do not reconnect like this".
docs/PROTOCOL.md shows both tables; tests/unit/test_schemas.py compares them with this file.
"""

from enum import Enum
from typing import Self


class _Code(Enum):
    """A member is `(number, retry, text)`; `of` finds a member by its number."""

    def __init__(self, number: int, retry: bool, text: str) -> None:
        self.number = number
        self.retry = retry
        self.text = text

    @classmethod
    def of(cls, number: int) -> Self | None:
        """The member with this number, or None for a number of a newer version."""
        return next((code for code in cls if code.number == number), None)


class Code(_Code):
    """Reply codes. `retry`: the same command may succeed later."""

    BAD_FRAME = 100, False, "not a JSON frame of this protocol"
    UNKNOWN_FRAME = 101, False, "this server does not know the frame type"
    OUT_OF_STATE = 102, False, "the frame is not allowed now: hello comes first, and once"
    BAD_FIELD = 103, False, "a field of the frame is missing, of the wrong type or out of range"
    UNAUTHORIZED = 104, False, "the token is missing, wrong or expired"
    TOKEN_EXPIRED = 105, False, "the token has expired: get a fresh one"
    TOKEN_REVOKED = 106, False, "the token was revoked: the person has to log in again"
    TOKEN_OF_ANOTHER = 107, False, "the token is for another user or device"
    BODY_EMPTY = 110, False, "the body is empty"
    BODY_TOO_LARGE = 111, False, "the body is longer than 16 KiB of UTF-8"
    BODY_INVALID = 112, False, "the body is not text"
    NOT_A_MEMBER = 113, False, "the user is not one of the conversation's two users"
    ITEM_INVALID = 114, False, "the submitted item breaks the record's schema"
    RECORD_UNREADABLE = 115, False, "the submitted record is not a record of this schema"
    RECORD_TOO_LARGE = 116, False, "the submitted record is larger than 256 KiB"
    CONTROL_INVALID = (
        117,
        False,
        "a control record stands alone and names a fold version that is not older",
    )
    SET_ASIDE = 118, False, "an operator has set the record aside; what was in it is not numbered"
    NOT_TAKEN = 160, True, "the endpoint did not take the notification"
    TRY_LATER = 120, True, "the server cannot do this now"
    RATE_LIMITED = 121, True, "too many frames from this device"
    QUOTA = 123, True, "the user has done too much; `retry_after` says when to try again"
    BUSY = 124, True, "too many requests of this user are under way"
    RANGE_GONE = 122, False, "the server no longer holds these messages"
    NO_MESSAGE = 130, True, "the server knows no message of this conversation"
    BLOCKED = 132, False, "the recipient takes no messages of this user"
    NOT_A_CONTACT = 133, False, "the recipient takes messages of contacts only"
    UNKNOWN_RECIPIENT = 131, False, "the recipient has never logged in"
    NOT_ACCEPTED = 134, False, "the recipient has not accepted this user's first message"
    LIST_FULL = 135, False, "this user has decided about too many others"
    CHANGE_NOT_YOURS = 150, False, "the message is of the other user"
    CHANGE_TOO_LATE = 151, False, "the message is too old to be changed"
    CHANGE_UNKNOWN = 152, False, "there is no message with this number that could be changed"
    CHANGE_OF_DELETED = 153, False, "the message is deleted"
    NOT_FOUND = 140, False, "there is nothing at this path"
    METHOD_NOT_ALLOWED = 141, False, "this path does not take the method"
    REQUEST_TOO_LARGE = 142, False, "the body of the request is too large"
    FAILED = 143, True, "a fault of the server"
    NOT_JSON = 144, False, "the body of the request is not application/json"
    OUT_OF_STEP = 146, False, "the outbox takes another ordinal next"
    NOT_HERE = 145, False, "this server does not do that for you"


class Close(_Code):
    """WebSocket close codes. `retry`: reconnect with backoff and resume."""

    DRAINING = 4000, True, "the node is leaving"
    SLOW_READER = 4001, True, "the device reads more slowly than it is sent to"
    SLOT_LOST = 4002, True, "the node lost its gateway slot or its place in the deliveries"
    HELLO_TIMEOUT = 4003, True, "no hello in time"
    INTERNAL = 4005, True, "the node failed while serving this socket"
    REDIRECTED = 4006, True, "another node serves this user"
    TOKEN_EXPIRED = 4007, True, "the token has expired: come back with a fresh one"
    TOO_MANY_DEVICES = 4010, True, "too many devices of this user are connected"
    MADE_ROOM = 4011, True, "the connection said nothing while others waited for its place"
    DISCONNECTED = 4013, True, "an operator has closed the connection"
    UNAUTHORIZED = 4500, False, "the token is missing, wrong or expired"
    VERSION_UNSUPPORTED = 4501, False, "the protocol version is not supported"
    REPLACED = 4502, False, "the same device connected again"
    BAD_PROTOCOL = 4503, False, "the first frame was not a valid hello, or too many bad frames"
    LOGGED_OUT = 4505, False, "the device was logged out"
    REVOKED = 4506, False, "the token was revoked: the person has to log in again"
    NOT_TEXT = (
        4504,
        False,
        "a WebSocket message was not text (not binary, for MessagePack); too large ones get 1009",
    )
