"""The faults that are planted in what devices are pushed. The judge of devices
(ops/audit/devices.py) must find each."""

from collections.abc import Mapping
from typing import NamedTuple

from ops.audit.verdict import NOWHERE, Finding


class Push(NamedTuple):
    """What the judge says: {two} stands for the recipient's second device, {name} for the
    conversation."""

    kind: str
    text: str

    def finding(self, two: str, conversation: str) -> Finding:
        return Finding(self.kind, NOWHERE, self.text.format(two=two, name=conversation))


PUSHES: Mapping[str, Push] = {
    "a changed body": Push("inconsistent-offsets", "{two} showed ('{name}', 4) with other content"),
    "dedupe is off": Push(
        "duplicate", "{two} showed one message as ('{name}', 3) and as ('{name}', 4)"
    ),
    "a swapped pair": Push("poll-skip", "{two} showed ('{name}', 5) after 3"),
    "a counter ahead": Push("poll-skip", "('{name}', 4) exists nowhere"),
    "a hole": Push("poll-skip", "{two} showed ('{name}', 9) after 3"),
    "a second numbering": Push("nonmonotonic-poll", "{two} showed ('{name}', 1) after 3"),
    "a repeated push with other content": Push(
        "inconsistent-offsets", "{two} showed ('{name}', 3) with other content"
    ),
    "a repeated push": Push("duplicate", "{two} showed ('{name}', 3) twice"),
    "a dropped push, or a cut tail": Push("lost-write", "{two} never showed ('{name}', 4)"),
}
