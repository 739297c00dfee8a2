"""What a webhook call says of a notification, and how it is signed: Standard Webhooks 1.0. Pure."""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from schemas.events import Notification, NotificationRaised

_PREFIX = "whsec_"
_KEY_BYTES = range(24, 65)
WAITS_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
"""Between two tries. After the last one the notification is a dead letter, some two minutes
later."""


def keys_of(secret: str) -> list[bytes]:
    """The keys that a secret names: one or several, with spaces between, each `whsec_` and base64.
    A receiver takes a call that is signed with any key that it knows, so one can be replaced.
    Raises ValueError."""
    keys = []
    for text in secret.split():
        try:
            key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
        except binascii.Error:
            key = b""
        if not text.startswith(_PREFIX) or len(key) not in _KEY_BYTES:
            raise ValueError(f"{_PREFIX} and 24 to 64 bytes in base64, for each key")
        keys.append(key)
    if not keys:
        raise ValueError("there is no key")
    return keys


def body_of(notification: Notification, at: int) -> bytes:
    """The body of the call. `at` (ms) is when the notification was written."""
    one = notification
    data: dict[str, Any] = {"user": one.user, "conversation": one.conversation}
    if isinstance(one, NotificationRaised):
        kind = "notification.raised"
        data |= {"sender": one.sender, "seq": one.seq, "time": one.time, "unread": one.unread}
        data |= {"text": one.text} if one.text else {}
    else:
        kind = "notification.cancelled"
        data |= {"up_to": one.up_to, "unread": one.unread}
    written = datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")
    call = {"type": kind, "timestamp": written.replace("+00:00", "Z"), "data": data}
    return json.dumps(call, separators=(",", ":")).encode()


def id_of(notification: Notification) -> str:
    """The same for every repeat of a notification, and without a full stop."""
    one = notification
    what = ("raised", one.seq) if isinstance(one, NotificationRaised) else ("over", one.up_to)
    name = json.dumps([*what, one.conversation, one.user])
    return f"msg_{hashlib.sha256(name.encode()).hexdigest()[:32]}"


def headers_of(id_: str, body: bytes, keys: Sequence[bytes], now: int) -> dict[str, str]:
    """The headers of one try, at `now` in ms."""
    seconds = str(now // 1000)
    signed = b".".join((id_.encode(), seconds.encode(), body))
    signatures = (
        base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() for key in keys
    )
    return {
        "content-type": "application/json",
        "webhook-id": id_,
        "webhook-timestamp": seconds,
        "webhook-signature": " ".join(f"v1,{one}" for one in signatures),
    }
