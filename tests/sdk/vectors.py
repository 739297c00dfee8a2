"""Plays the vectors of clients/vectors on the device of the Python SDK; its README tells the
format. tests/browser/vectors.js does the same for the page's device."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from messenger_sdk import (
    DecisionRefused,
    Device,
    HistoryPage,
    MessageReceived,
    SendRefused,
    SendUnknown,
)
from messenger_sdk.device import Happening
from messenger_sdk.events import (
    DecisionEnded,
    HistoryEnded,
    MarksChanged,
    PersonChanged,
    PresenceChanged,
    PrivacyChanged,
    TokenExpires,
    Typing,
)
from messenger_sdk.outbox import SendEnded
from messenger_sdk.storage import LaneChanged, SavedSend, Stored
from schemas.codec import decode_server_frames, encode_frame

FOLDER = Path(__file__).resolve().parents[2] / "clients" / "vectors"

Json = dict[str, Any]


def vectors() -> list[Path]:
    return sorted(FOLDER.glob("*.json"))


def play(vector: Json) -> Iterator[tuple[Json, Json]]:
    """Each step with what it gives."""
    numbers = itertools.count(1)
    stored = dict(vector.get("stored", {}))
    stored["lanes"] = [LaneChanged(*lane) for lane in stored.get("lanes", [])]
    stored["sends"] = [SavedSend(*send) for send in stored.get("sends", [])]
    device = Device(Stored(**stored), jitter=lambda: 0.5, new_id=lambda: f"{next(numbers):032x}")
    unshown: list[MessageReceived] = []
    now = 0
    for step in vector["steps"]:
        now = step.get("at", now)
        events: list[Happening] = []
        for frame in expand(step):
            for received in decode_server_frames(json.dumps(frame)):
                events += device.receive(received, now / 1000)
        command(device, step, now / 1000)
        unshown += [event for event in events if isinstance(event, MessageReceived)]
        seen = step.get("shown", 0 if vector.get("slow") else len(unshown))
        for message in unshown[:seen]:
            device.shown(message)
        del unshown[:seen]
        due = [json.loads(encode_frame(frame)) for frame in device.due(now / 1000)]
        wake_at = device.wake_at()
        yield (
            step,
            {
                "events": [as_json(event) for event in events],
                "frames": due,
                "wake_at": None if wake_at is None else round(wake_at * 1000),
            },
        )


def expand(step: Json) -> list[Json]:
    """The frames of a step; with `seqs`, one for each number."""
    frame = step.get("receive")
    if frame is None:
        return []
    if "seqs" not in step:
        return [frame]
    first, last = step["seqs"]
    return [{**frame, "seq": seq} for seq in range(first, last + 1)]


def command(device: Device, step: Json, now: float) -> None:
    if "disconnect" in step:
        device.disconnected()
    if "submit" in step:
        device.submit(step["submit"]["to"], step["submit"]["body"])
    if "change" in step:
        device.change(**step["change"])
    if "read" in step:
        device.read(step["read"]["conversation"], step["read"]["seq"])
    if "watch" in step:
        device.watch(step["watch"], now)
    if "typing" in step:
        device.typing(step["typing"], now)
    if "renew" in step:
        device.renew(step["renew"])
    if "block" in step:
        device.decide("blocked", step["block"], True, now)
    if "unblock" in step:
        device.decide("blocked", step["unblock"], False, now)
    if "contact" in step:
        device.decide("contact", step["contact"], step.get("is", True), now)
    if "decline" in step:
        device.decide("declined", step["decline"], True, now)
    if "privacy" in step:
        device.set_privacy(step["privacy"], step["reads"], now)
    if "follow_people" in step:
        device.follow_people(now)
    if "history" in step:
        device.history(**step["history"])


def as_json(event: Happening) -> Json:
    """Defaults are left out, as in frames."""
    if isinstance(event, MessageReceived):
        return {"event": "message", **message(event)}
    if isinstance(event, MarksChanged):
        return {"event": "marks", **event._asdict()}
    if isinstance(event, PresenceChanged):
        return {"event": "presence", **event._asdict()}
    if isinstance(event, PersonChanged):
        said = event._asdict()
        request = {"request": True} if said.pop("request") else {}
        return {"event": "person", **said, **request}
    if isinstance(event, PrivacyChanged):
        return {"event": "privacy", **event._asdict()}
    if isinstance(event, DecisionEnded):
        kind, user = event.about
        refused = isinstance(event.result, DecisionRefused)
        code = {"code": event.result.code} if refused else {}  # type: ignore[union-attr]
        return {"event": "decided", "kind": kind, "user": user, **code}
    if isinstance(event, Typing):
        return {"event": "typing", **event._asdict()}
    if isinstance(event, TokenExpires):
        return {"event": "token_expires", **event._asdict()}
    if isinstance(event, HistoryEnded):
        if not isinstance(event.result, HistoryPage):
            return {"event": "history", "id": event.id, "code": event.result.code}
        page = {
            "known": event.result.known,
            "messages": [message(one) for one in event.result.messages],
        }
        first = {"first": True} if event.result.first else {}
        return {"event": "history", "id": event.id, **page, **first}
    assert isinstance(event, SendEnded), event
    failed: Json = {"event": "failed", "key": event.key, "to": event.to, "body": event.body}
    failed |= {"changes": event.changes} if event.changes else {}
    if isinstance(event.result, SendRefused):
        return {**failed, "code": event.result.code}
    if isinstance(event.result, SendUnknown):
        return {**failed, "reason": event.result.reason}
    assert not isinstance(event.result, Exception)
    return {"event": "sent", "key": event.key, **event.result._asdict()}


def message(event: MessageReceived) -> Json:
    shown = event._asdict()
    shown["from"] = shown.pop("sender")
    for name in ("missing", "erased", "changes", "version"):
        if not shown[name]:
            del shown[name]
    return shown
