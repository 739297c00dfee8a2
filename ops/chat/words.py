"""Words for times, marks and people. Pure; times are ms since 1970, `now` is one of them, by the
clock of this place."""

import unicodedata
from datetime import datetime

from ops.chat.state import Conversation, Message

_JOINERS = "\u200c\u200d"
"""Of emoji and of some scripts: format characters that text needs."""


def plain(text: str) -> str:
    """Text from other people as it may go to a terminal: without control characters, which could
    move its cursor, and without characters that turn the direction of what follows."""
    return "".join(map(_plain, text.expandtabs(4)))


def _plain(letter: str) -> str:
    if letter == "\n" or letter in _JOINERS:
        return letter
    kind = unicodedata.category(letter)
    if kind in ("Zl", "Zp"):
        return "\n"
    return "\N{REPLACEMENT CHARACTER}" if kind in ("Cc", "Cf", "Cs") else letter


def line(text: str) -> str:
    """In one line."""
    return " ".join(plain(text).split())


def clock(time: int) -> str:
    return f"{_when(time):%H:%M}"


def day(time: int, now: int) -> str:
    """ "Today", "Yesterday", "Tuesday", "3 March 2026"."""
    ago = _days(time, now)
    if ago in (0, 1):
        return ("Today", "Yesterday")[ago]
    when = _when(time)
    return f"{when:%A}" if 1 < ago < 7 else f"{when.day} {when:%B %Y}"


def short_time(time: int, now: int) -> str:
    """As short as it can be."""
    ago = _days(time, now)
    if ago == 0:
        return clock(time)
    return day(time, now) if 0 < ago < 7 else f"{_when(time):%d.%m.%y}"


def presence(conversation: Conversation, now: int) -> str:
    """What `peer` does, as far as `me` may know."""
    if conversation.blocked:
        return "blocked"
    if conversation.typing_until > now:
        return "typing…"
    if conversation.here:
        return "online"
    seen = conversation.last_seen
    if not seen:
        return ""
    when = day(seen, now)
    when = when.lower() if _days(seen, now) < 2 else when
    return f"last seen {when} at {clock(seen)}"


def fate(message: Message, conversation: Conversation) -> str:
    """What has become of a message of one's own."""
    if not message.seq:
        return "failed" if message.note else "waiting"
    if message.seq > conversation.got:
        return "sent"
    return "delivered" if message.seq > conversation.seen else "read"


TICKS = {"failed": "✗", "waiting": "…", "sent": "✓", "delivered": "✓✓", "read": "✓✓"}


def _when(time: int) -> datetime:
    return datetime.fromtimestamp(time / 1000)


def _days(time: int, now: int) -> int:
    return (_when(now).date() - _when(time).date()).days
