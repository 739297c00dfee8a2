"""Where a partition may go on (R3), and what the watchdog calls standing still."""

import asyncio

import pytest

from agents.rules.position import FoundInput, FoundLog, cannot_rebuild, input_differs, log_differs
from connectors.environment import SettingsError, load
from gateway.settings import GatewaySettings
from streams.progress import ProgressProbe
from streams.tables.sequences import Header
from streams.watchdog import PATIENCE_SECONDS, Watchdog
from tests.harness.virtual import run

STATE = Header("log", "input", log_offset=9, log_crc=77, position=19, input_time=5, input_crc=66)


@pytest.mark.parametrize(
    ("log", "differs"),
    [
        (FoundLog("log", 0, 10, 77), False),
        (FoundLog("log", 5, 30, 77), False),
        (FoundLog("log", 10, 10, None), False),
        (FoundLog("other", 0, 10, 77), True),
        (FoundLog("log", 0, 9, None), True),
        (FoundLog("log", 0, 10, 78), True),
    ],
)
def test_the_state_must_be_the_fold_of_this_log(log: FoundLog, differs: bool) -> None:
    assert (log_differs(STATE, log) is not None) == differs


def test_a_log_without_its_head_cannot_rebuild() -> None:
    assert cannot_rebuild(10, FoundLog("log", 10, 20, None)) is None
    assert "offset 9 is needed" in (cannot_rebuild(9, FoundLog("log", 10, 20, None)) or "")


@pytest.mark.parametrize(
    ("found", "differs"),
    [
        (FoundInput("input", 0, 20, (5, 66)), False),
        (FoundInput("input", 20, 40, None), False),
        (FoundInput("other", 0, 20, (5, 66)), True),
        (FoundInput("input", 0, 19, None), True),
        (FoundInput("input", 21, 40, None), True),
        (FoundInput("input", 0, 20, (5, 67)), True),
        (FoundInput("input", 0, 20, (6, 66)), True),
    ],
)
def test_the_input_must_be_the_one_that_was_folded(found: FoundInput, differs: bool) -> None:
    reason = input_differs("input", STATE.position, (STATE.input_time, STATE.input_crc), found)
    assert (reason is not None) == differs


class Watched:
    """A partition with something to read. `moves`: it gets something done every second."""

    def __init__(self, moves: bool = False, owed: bool = True) -> None:
        self.kafka = True
        self.moves = moves
        self.owed = owed
        self.healed = 0
        self.progress = 0

    async def look(self) -> bool:
        self.progress += self.moves
        return self.kafka

    def probes(self) -> list[ProgressProbe]:
        return [ProgressProbe("partition 0", self.progress, self.owed, self.heal)]

    def heal(self) -> None:
        self.healed += 1


async def watch(
    watched: Watched, seconds: float, begins: float = 0.0
) -> tuple[Watchdog, list[str]]:
    """Watch for so long; what had expired by then. Kafka answers from `begins` on."""
    watched.kafka = not begins
    expired: list[str] = []
    watchdog = Watchdog(watched, expired.append)
    task = asyncio.create_task(watchdog.run())
    await asyncio.sleep(begins)
    watched.kafka = True
    await asyncio.sleep(seconds - begins)
    task.cancel()
    return watchdog, expired


@pytest.mark.parametrize(
    ("moves", "owed", "stuck"), [(False, True, True), (True, True, False), (False, False, False)]
)
def test_standing_still_needs_a_reason(moves: bool, owed: bool, stuck: bool) -> None:
    watched = Watched(moves, owed)
    _, expired = run(watch(watched, PATIENCE_SECONDS + 3))
    assert (len(expired), watched.healed) == (stuck, stuck)


def test_health_says_it_in_5_seconds_and_it_is_healed_in_10_and_ended_after_20() -> None:
    watched = Watched()
    watchdog, expired = run(watch(watched, 6.5))
    assert (watched.healed, expired) == (0, [])
    assert ["has something to do" in problem for problem in watchdog.problems()] == [True]
    watched = Watched()
    _, expired = run(watch(watched, 10.0))
    assert (watched.healed, expired) == (1, [])


def test_kafka_away_is_a_reason_and_the_patience_begins_when_it_is_back() -> None:
    watched = Watched()
    _, expired = run(watch(watched, 3 * PATIENCE_SECONDS, begins=2.5 * PATIENCE_SECONDS))
    assert expired == []
    _, expired = run(watch(Watched(), 4 * PATIENCE_SECONDS, begins=2.5 * PATIENCE_SECONDS))
    assert len(expired) == 1


def test_settings_name_what_is_wrong() -> None:
    with pytest.raises(SettingsError, match="not set: MESSENGER_KAFKA"):
        load(GatewaySettings, {})
    given = {"MESSENGER_KAFKA": "k", "MESSENGER_REDIS": "r", "MESSENGER_TOKEN_SECRET": "short"}
    with pytest.raises(SettingsError, match="MESSENGER_TOKEN_SECRET"):
        load(GatewaySettings, given)
    assert (
        load(
            GatewaySettings, {**given, "MESSENGER_TOKEN_SECRET": "s" * 32, "MESSENGER_LOCAL": "1"}
        ).local
        is True
    )
