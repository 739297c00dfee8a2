"""Where a partition may go on (R3), and what the watchdog calls standing still."""

import pytest

from agents.rules.position import FoundInput, FoundLog, cannot_rebuild, input_differs, log_differs
from connectors.environment import SettingsError, load
from gateway.settings import GatewaySettings
from streams.earlier_watchdog import PATIENCE_SECONDS, ProgressProbe, Watchdog
from streams.tables.sequences import Header

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
    assert "snapshot" in (cannot_rebuild(9, FoundLog("log", 10, 20, None)) or "")


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
    def __init__(self) -> None:
        self.vital = ProgressProbe("partition 0", 0, owed=True)
        self.kafka = True

    def vitals(self) -> list[ProgressProbe]:
        return [self.vital]

    async def reachable(self) -> bool:
        return self.kafka


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("moves", "owed", "stuck"), [(False, True, True), (True, True, False), (False, False, False)]
)
def test_standing_still_needs_a_reason(moves: bool, owed: bool, stuck: bool) -> None:
    watched, clock = Watched(), Clock()
    watchdog = Watchdog(watched, pytest.fail, clock)
    found = None
    for second in range(0, int(PATIENCE_SECONDS) * 2, 5):
        clock.now = float(second)
        watched.vital = ProgressProbe("partition 0", second if moves else 0, owed)
        found = watchdog.check()
    assert (found is not None) == stuck


async def test_kafka_away_is_a_reason() -> None:
    watched, clock = Watched(), Clock()
    ended: list[str] = []
    watchdog = Watchdog(watched, ended.append, clock)
    watched.kafka = False

    async def sleep(seconds: float) -> None:
        clock.now += seconds
        watched.kafka = clock.now > PATIENCE_SECONDS * 3
        assert clock.now < PATIENCE_SECONDS * 5

    await watchdog.run(sleep)
    assert clock.now > PATIENCE_SECONDS * 3
    assert len(ended) == 1


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
