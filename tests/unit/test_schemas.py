"""What is said: ids, codes, frames, records, topics, golden examples, and the documents that
describe them."""

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.docs import topics_page
from ops.frame_fields import frames_page
from schemas import codec, codes, events, frames, ids, submitted_codec
from schemas.topics import SUBMITTED, all_topics

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "schemas" / "examples"
DECODERS = {
    "messages.submitted": submitted_codec.decode_submitted,
    "messages": codec.decode_log,
    "deliveries": codec.decode_deliveries,
    "dead-letters": codec.decode_dead_letter,
    "receipts.submitted": codec.decode_receipts,
    "cursors": codec.decode_cursor,
    "presence.submitted": codec.decode_presence,
    "presence": codec.decode_presence_state,
    "people.submitted": codec.decode_people,
    "people": codec.decode_person,
    "memberships": codec.decode_membership,
    "notifications": codec.decode_notification,
    "revocations": codec.decode_revocation,
    "snapshots": codec.decode_snapshot,
    "snapshots.chunks": codec.decode_chunk,
    "commands": codec.decode_command,
    "server-frames": codec.decode_server_frames,
}


def test_a_conversation_proves_its_members() -> None:
    conversation = ids.conversation_of(ids.user_id("bob"), ids.user_id("alice"))
    assert conversation == "alice:bob"
    assert ids.members_of(conversation) == ("alice", "bob") == ids.members_of_valid(conversation)


@pytest.mark.parametrize(
    "wrong", ["", "a", "b:a", "a:a", "a:b:c", "A:b", "a:", ":b", "a b:c", "a" * 65 + ":b"]
)
def test_other_conversation_ids_are_invalid(wrong: str) -> None:
    with pytest.raises(ids.InvalidId):
        ids.members_of(wrong)


@pytest.mark.parametrize("wrong", ["", "Alice", "-a", "a b", "a:b", "a\n", "é", "a" * 65])
def test_user_ids(wrong: str) -> None:
    with pytest.raises(ids.InvalidId):
        ids.user_id(wrong)


def test_partitions_are_ours_and_fixed() -> None:
    assert [ids.partition_of(name, 4) for name in ("alice:bob", "alice:carol", "bob:carol")] == [
        1,
        2,
        2,
    ]


def test_code_numbers_are_unique_and_split_by_meaning() -> None:
    numbers = [code.number for code in (*codes.Code, *codes.Close)]
    assert len(numbers) == len(set(numbers))
    assert all(close.retry == (close.number < 4500) for close in codes.Close)


def test_every_example_is_read_and_written_as_ever() -> None:
    """Examples are added to, never edited: what was written once stays readable, fields that came
    later have their defaults. `written`: it is what is written now."""
    files = sorted(EXAMPLES.glob("v*/*.json"))
    assert {file.stem.split("--")[0] for file in files} == set(DECODERS)
    for file in files:
        example = json.loads(file.read_text())
        value = bytes.fromhex(example["hex"]) if "hex" in example else example["text"].encode()
        decoded = DECODERS[file.stem.split("--")[0]](value)
        assert _has(msgspec.to_builtins(decoded), example["decoded"]), file.name
        if example.get("written"):
            assert codec.encode_event(_record(file.stem.split("--")[0], decoded, value)) == value


def _has(value: Any, expected: Any) -> bool:
    """Arrays may have grown, at their ends."""
    if isinstance(expected, list):
        return len(value) >= len(expected) and all(map(_has, value, expected))
    if isinstance(expected, dict):
        return value.keys() == expected.keys() and all(
            _has(value[key], expected[key]) for key in expected
        )
    return bool(value == expected)


def _record(topic: str, decoded: Any, value: bytes) -> object:
    if topic == "messages.submitted":
        return events.SubmittedRecord(1, list(decoded), submitted_codec.submitting_slot(value))
    return decoded


def test_a_record_says_by_which_slot_it_came_if_it_says_so() -> None:
    for record, slot in ((events.SubmittedRecord(1, [], 7), 7), ([1, []], -1), ([1, [], "x"], -1)):
        assert submitted_codec.submitting_slot(codec.encode_event(record)) == slot
    for value in (b"", b"?", bytes(60)):
        assert submitted_codec.submitting_slot(value) == -1


@pytest.mark.parametrize("topic", sorted(all_topics()))
def test_newer_records_are_never_mistaken(topic: str) -> None:
    newer = all_topics()[topic].version + 1
    for value in ([newer], [newer, "anything"], [newer, {"a": 1}, 3], [99, []]):
        with pytest.raises(codec.NewerVersion):
            DECODERS[topic](msgspec.msgpack.encode(value))


@pytest.mark.parametrize("topic", ["messages.submitted", "messages", "deliveries", "dead-letters"])
@given(value=st.binary(max_size=60))
def test_no_bytes_break_a_decoder(topic: str, value: bytes) -> None:
    with contextlib.suppress(codec.Undecodable, codec.NewerVersion):
        DECODERS[topic](value)


def test_text_that_is_not_utf8_sets_its_item_aside() -> None:
    good = events.MessageSubmitted(
        "alice:bob", "alice", "phone", bytes(16), 1, bytes(16), 0, "good"
    )
    value = codec.encode_event(events.SubmittedRecord(1, [good, good])).replace(
        b"good", b"\xff\xfe\xfdd", 1
    )
    broken, whole = submitted_codec.decode_submitted(value)
    assert isinstance(broken, submitted_codec.SetAside)
    assert broken.refusal is not None
    assert (broken.refusal.ordinal, whole) == (1, good)


def test_unknown_fields_and_frames_of_newer_servers_are_ignored() -> None:
    assert codec.decode_server_frames('{"t":"hologram"}\n\n{"t":"pong","id":1,"new":[]}') == [
        frames.Pong(1)
    ]
    assert codec.decode_command(b'{"t":"ping","id":1,"new":[]}') == frames.Ping(1)


@given(st.lists(st.integers(1, 50)), st.integers(10, 100))
def test_packing_keeps_order_and_bounds(sizes: list[int], limit: int) -> None:
    cuts = [sizes[cut] for cut in codec.pack(sizes, limit)]
    assert [size for cut in cuts for size in cut] == sizes
    assert all(cut and (sum(cut) <= limit or len(cut) == 1) for cut in cuts)


def test_every_topic_file_is_complete() -> None:
    topics = all_topics()
    assert set(topics) == {
        topic for topic in DECODERS if topic not in ("commands", "server-frames")
    }
    for topic in topics.values():
        assert hasattr(events, topic.value)
        newest = events.CHANGES_VERSION if topic.name == SUBMITTED else events.SCHEMA_VERSION
        assert topic.version == newest
        assert topic.lowest_version <= topic.version


def test_topics_page_is_current() -> None:
    assert (ROOT / "docs" / "TOPICS.md").read_text() == topics_page(), "run `make docs`"


def test_frames_page_is_current_and_has_every_field() -> None:
    page = (ROOT / "docs" / "FRAMES.md").read_text()
    assert page == frames_page(), "run `make docs`"
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", page, re.MULTILINE)
    kinds = (*frames.Command.__args__, *frames.ServerFrame.__args__)
    assert rows == [
        (kind.__struct_config__.tag, name)
        for kind in kinds
        for name in kind.__struct_encode_fields__
    ]


def test_protocol_page_has_the_codes_and_fields_of_the_code() -> None:
    page = (ROOT / "docs" / "PROTOCOL.md").read_text()
    rows = re.findall(r"^\| (\d{3,4}) \| `(\w+)` \| (yes|no) \| (.+?) \|$", page, re.MULTILINE)
    told = {(int(number), name, retry == "yes", text) for number, name, retry, text in rows}
    assert told == {
        (code.number, code.name, code.retry, code.text) for code in (*codes.Code, *codes.Close)
    }
    for kind in (*frames.Command.__args__, *frames.ServerFrame.__args__):
        row = re.search(rf"^\| `{kind.__struct_config__.tag}` \| ([^|]+) \|", page, re.MULTILINE)
        assert row, f"no row for {kind.__name__}"
        assert re.findall(r"`(\w+)`", row[1]) == list(kind.__struct_encode_fields__)


def test_delivery_records_are_bounded() -> None:
    delivered = [
        events.MessageDelivered("alice:bob", seq, "alice", "one", ["bob"], b"x" * 200_000)
        for seq in range(1, 13)
    ]
    values = codec.encode_deliveries(delivered)
    assert len(values) > 1
    assert all(len(value) <= codec.MAX_DELIVERY_BYTES for value in values)
    assert [
        event for value in values for event in codec.decode_deliveries(value).events
    ] == delivered
    assert len(codec.encode_deliveries(delivered[:1])) == 1


def test_the_peer_is_the_other_user() -> None:
    assert ids.peer_of("alice:bob", "alice") == "bob"
    assert ids.peer_of("alice:bob", "bob") == "alice"
