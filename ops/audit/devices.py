"""Judges what devices showed. Only here can a message be found missing at a device: a delivery
exists only if the device had a route."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ops.audit.verdict import Verdict
from schemas.ids import members_of_valid


class Shown(NamedTuple):
    """A message as a device showed it, or as the server accepted it from a sender."""

    conversation: str
    seq: int
    key: str
    body: str


def judge_devices(
    accepted: Iterable[Shown], devices: Mapping[str, Sequence[Shown]], verdict: Verdict
) -> None:
    """Compare what each device showed, in its order, with the messages that senders were told were
    sent (`accepted`).

    `devices`: "user/device" → messages. Every device must have shown all accepted messages of its
    user, so it must have been online, or have caught up from the beginning.
    """
    truth: dict[tuple[str, int], Shown] = {}
    keys: dict[str, tuple[str, int]] = {}
    for message in accepted:
        name = message.conversation, message.seq
        if truth.setdefault(name, message) != message:
            verdict.add("inconsistent-offsets", f"{name} was given to two messages")
        if keys.setdefault(message.key, name) != name:
            verdict.add("duplicate", f"one message is {keys[message.key]} and {name}")
    for device, shown in devices.items():
        cursors: dict[str, int] = {}
        for message in shown:
            name = message.conversation, message.seq
            cursor = cursors.get(message.conversation, 0)
            if message.seq == cursor:
                verdict.add("duplicate", f"{device} showed {name} twice")
            elif message.seq < cursor:
                verdict.add("nonmonotonic-poll", f"{device} showed {name} after {cursor}")
            elif message.seq > cursor + 1:
                verdict.add("poll-skip", f"{device} showed {name} after {cursor}")
            cursors[message.conversation] = max(cursor, message.seq)
            if keys.setdefault(message.key, name) != name:
                verdict.add(
                    "duplicate", f"{device} showed one message as {keys[message.key]} and as {name}"
                )
            if device.split("/")[0] not in members_of_valid(message.conversation):
                verdict.add("phantom", f"{device} showed {name} of other people")
            if truth.setdefault(name, message) != message:
                verdict.add("inconsistent-offsets", f"{device} showed {name} with other content")
    last: dict[str, int] = {}
    for conversation, seq in truth:
        last[conversation] = max(last.get(conversation, 0), seq)
    for device, shown in devices.items():
        seen = {(message.conversation, message.seq) for message in shown}
        users = device.split("/")[0]
        for conversation, seq in truth:
            if users in members_of_valid(conversation) and (conversation, seq) not in seen:
                verdict.add("lost-write", f"{device} never showed {(conversation, seq)}")
    for conversation, end in last.items():
        for seq in range(1, end + 1):
            if (conversation, seq) not in truth:
                verdict.add("poll-skip", f"{(conversation, seq)} exists nowhere")
    verdict.figures["accepted"] += len(truth)
    verdict.figures["shown"] += sum(len(shown) for shown in devices.values())
