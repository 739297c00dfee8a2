"""Who sends much is read a little at a time, in turns, and others are read at once."""

import asyncio

from gateway.edge.flood_gate import PIECE_BYTES, PIECE_FRAMES, in_pieces
from schemas.codec import split_frames
from schemas.codes import Close
from schemas.frames import MAX_FRAMES
from tests.harness.memory_node import SEND, Device, MemoryNode, World
from tests.harness.virtual import run

FLOOD = [{"t": "ping", "id": number} for number in range(MAX_FRAMES)]


def test_a_flood_of_many_devices_holds_nobody_up_and_its_users_take_turns() -> None:
    async def scenario() -> None:
        node = await ready()
        eve = [await node.welcomed("eve", f"d{number}") for number in range(20)]
        bob, alice = await node.welcomed("bob"), await node.welcomed("alice")
        for device in (*eve, bob):
            device.begin(*FLOOD)
        alice.begin({"t": "ping", "id": 1})
        await asyncio.sleep(0.001)
        assert pongs(alice) == [1]
        assert 0 < sum(len(pongs(device)) for device in eve) <= 8 * PIECE_FRAMES
        while len(pongs(bob)) < MAX_FRAMES:
            await asyncio.sleep(0.004)
        together = sum(len(pongs(device)) for device in eve)
        assert together <= MAX_FRAMES + 10 * PIECE_FRAMES, (
            "twenty devices have the turns of one user"
        )
        while len(pongs(eve[-1])) < MAX_FRAMES:
            await asyncio.sleep(0.004)
        assert all(pongs(device) == list(range(MAX_FRAMES)) for device in (*eve, bob))
        await node.node.stop()

    run(scenario())


def test_what_a_device_sends_after_a_flood_waits_for_it_and_keeps_its_order() -> None:
    async def scenario() -> None:
        node = await ready()
        eve = await node.welcomed("eve")
        await eve.send(*FLOOD)
        await eve.send({"t": "ping", "id": MAX_FRAMES})
        await asyncio.sleep(0.1)
        assert pongs(eve) == list(range(MAX_FRAMES + 1))
        await node.node.stop()

    run(scenario())


def test_a_send_to_many_devices_costs_as_much_as_it_causes() -> None:
    """Else a user with a hundred devices, who writes to another such user, makes a thousand pushes
    of a few frames."""

    async def taken_after(seconds: float, devices: int) -> int:
        node = World().node()
        await node.start()
        eve = [await node.welcomed("eve", f"d{number}") for number in range(devices)]
        for number in range(devices):
            await node.welcomed("mallory", f"d{number}")
        outbox = [
            {**SEND, "to": "mallory", "ordinal": number, "key": f"{number:032x}"}
            for number in range(1, 1001)
        ]
        eve[0].begin(*outbox)
        await asyncio.sleep(seconds)
        taken = node.node.parts.submitter.submitted
        await node.node.stop()
        return taken

    async def scenario() -> None:
        assert await taken_after(1.0, 1) == 1000
        few, many = await taken_after(0.5, 1), await taken_after(0.5, 80)
        assert few / 16 < many < few / 4

    run(scenario())


def test_who_sends_within_the_limits_waits_for_nothing_while_others_flood() -> None:
    async def scenario() -> None:
        node = await ready()
        eve = [await node.welcomed(f"eve{number}") for number in range(10)]
        alice = [await node.welcomed("alice", f"d{number}") for number in range(3)]
        for device in eve:
            device.begin(*FLOOD)
        for number, device in enumerate(alice):
            device.begin(
                *(
                    {
                        **SEND,
                        "ordinal": n,
                        "key": f"{number:016x}{n:016x}",
                        "outbox": f"{number:032x}",
                    }
                    for n in range(1, 13)
                )
            )
        await asyncio.sleep(0.001)
        assert node.node.parts.submitter.submitted == 36
        await node.node.stop()

    run(scenario())


def test_a_device_that_is_gone_or_closed_is_read_no_further() -> None:
    async def scenario() -> None:
        node = await ready()
        eve, bob = await node.welcomed("eve"), await node.welcomed("bob")
        for device in (eve, bob):
            device.begin(*FLOOD)
        eve.vanish()
        bob.connection.close(Close.DRAINING)
        await asyncio.sleep(1.0)
        assert len(pongs(eve)) + len(pongs(bob)) <= 8 * PIECE_FRAMES
        assert len(node.node.parts.flood_gate.turns) == 0
        await node.node.stop()

    run(scenario())


def test_a_message_in_pieces_has_the_same_frames() -> None:
    frames = [b'{"t":"ping","id":%d}' % number for number in range(100)] + [b"x" * PIECE_BYTES] * 3
    pieces = list(in_pieces(b"\n".join(frames)))
    assert [line for piece in pieces for line in split_frames(piece)] == frames
    assert all(len(split_frames(piece)) <= PIECE_FRAMES for piece in pieces)
    assert all(len(piece) <= PIECE_BYTES + PIECE_FRAMES for piece in pieces)
    for whole in (b"", b"\n \n", b"\n".join([b"{}"] * (MAX_FRAMES + 1))):
        assert list(in_pieces(whole)) == [whole], "the session says what is wrong with it"


def pongs(device: Device) -> list[int]:
    return [frame["id"] for frame in device.of_type("pong")]


async def ready() -> MemoryNode:
    node = World().node(frame_rate=2.0 * MAX_FRAMES)
    await node.start()
    return node
