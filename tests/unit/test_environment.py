"""Settings from the environment."""

import pytest
from msgspec import Struct

from connectors.environment import SettingsError, load


class Settings(Struct, frozen=True):
    frame_rate: float = 1.0
    clickhouse: str = ""


def test_a_misspelt_setting_is_refused_and_the_right_one_named() -> None:
    with pytest.raises(SettingsError, match=r"FRAME_RAET is not a setting; MESSENGER_FRAME_RATE"):
        load(Settings, {"MESSENGER_FRAME_RAET": "2"})


def test_settings_of_other_processes_may_be_there() -> None:
    others = {"MESSENGER_CLICKHOUSE_ADMIN": "x", "MESSENGER_WEB_PORT": "1", "FRAME_RAET": "2"}
    assert load(Settings, others) == Settings()


def test_a_longer_name_is_another_processes_setting() -> None:
    class Admin(Struct, frozen=True):
        clickhouse_admin: str = ""

    assert load(Admin, {"MESSENGER_CLICKHOUSE_ADMIN_FROM": "127.0.0.1"}) == Admin()
