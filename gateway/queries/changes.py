"""Changes of messages, where a page is put together. A change has a number of its own, after that
of its message. So a reader that has all messages from one number on has all changes of these,
too."""

from msgspec.structs import replace

from gateway.queries.recent import Frames
from schemas.codec import decode_message, encode_frame
from schemas.frames import Message

_CHANGES = b',"changes":'
"""It cannot stand in a body: JSON would write the quotes otherwise."""


def with_changes(frames: Frames) -> Frames:
    """The frames, each as the last change among them says. A deletion is final."""
    if _CHANGES not in b"".join(frames.values()):
        return frames
    changes = [decode_message(frame) for frame in frames.values() if _CHANGES in frame]
    last: dict[int, Message] = {}
    for change in sorted(changes, key=lambda change: change.version):
        if change.changes not in last or not last[change.changes].erased:
            last[change.changes] = change
    changed = dict(frames)
    for seq, frame in frames.items():
        message = decode_message(frame) if seq in last or _CHANGES in frame else None
        if message is not None:
            change = last[message.changes or seq]
            newer = change.erased or change.version > message.version
            if newer and not message.erased:
                changed[seq] = encode_frame(
                    replace(message, body=change.body, erased=change.erased, version=change.version)
                )
    return changed


def outdated(window: Frames | None, changed: int) -> bool:
    """Whether `changed`, the number of a conversation's last change, comes after the window: then
    the window may lack changes of its messages."""
    return window is not None and 0 < max(window, default=0) < changed
