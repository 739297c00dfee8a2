"""Settings from a file and from the environment."""

from pathlib import Path
from typing import Annotated

import pytest
from msgspec import Meta, Struct

from connectors.environment import FILE, SettingsError, load
from ops.settings_page import PAGE, settings_page


class Settings(Struct, frozen=True):
    frame_rate: Annotated[float, Meta(ge=1)] = 1.0
    clickhouse: str = ""
    token_secret: str = ""


def write(folder: Path, text: str) -> dict[str, str]:
    file = folder / "settings.toml"
    file.write_text(text)
    return {FILE: str(file)}


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


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    given = write(tmp_path, 'frame_rate = 3\nclickhouse = "file"')
    given["MESSENGER_CLICKHOUSE"] = "environment"
    assert load(Settings, given) == Settings(frame_rate=3, clickhouse="environment")


def test_a_wrong_value_is_named_by_where_it_stands(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r">= 1.*settings\.toml: frame_rate`"):
        load(Settings, write(tmp_path, "frame_rate = 0"))
    with pytest.raises(SettingsError, match=r">= 1.*`MESSENGER_FRAME_RATE`"):
        load(Settings, {"MESSENGER_FRAME_RATE": "0"})


def test_an_unknown_key_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"toml: frame_raet is not a setting; frame_rate is"):
        load(Settings, write(tmp_path, "frame_raet = 2"))
    with pytest.raises(SettingsError, match=r"toml: table is not a setting; docs/SETTINGS"):
        load(Settings, write(tmp_path, "[table]"))


def test_the_file_may_have_keys_of_other_processes(tmp_path: Path) -> None:
    given = write(tmp_path, 'frame_rate = 2\nweb_port = 1\npassword_file = "x"')
    assert load(Settings, given, lambda: ["web_port", "password"]) == Settings(frame_rate=2)


def test_a_file_that_is_no_toml_or_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"settings\.toml: .*line 1"):
        load(Settings, write(tmp_path, "frame_rate 3"))
    with pytest.raises(SettingsError, match=r"MESSENGER_SETTINGS: .*nowhere"):
        load(Settings, {FILE: str(tmp_path / "nowhere")})


def test_a_value_may_be_in_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hush\n")
    secret = str(tmp_path / "secret")
    assert load(Settings, {"MESSENGER_TOKEN_SECRET_FILE": secret}).token_secret == "hush"
    given = write(tmp_path, f'token_secret_file = "{secret}"')
    assert load(Settings, given).token_secret == "hush"
    assert load(Settings, {**given, "MESSENGER_TOKEN_SECRET": "loud"}).token_secret == "loud"
    with pytest.raises(SettingsError, match=r"both MESSENGER_TOKEN_SECRET and MESS"):
        load(Settings, {"MESSENGER_TOKEN_SECRET": "x", "MESSENGER_TOKEN_SECRET_FILE": secret})
    with pytest.raises(SettingsError, match=r"MESSENGER_TOKEN_SECRET_FILE: .*nowhere"):
        load(Settings, {"MESSENGER_TOKEN_SECRET_FILE": str(tmp_path / "nowhere")})


def test_a_value_of_a_file_is_not_told_by_an_error(tmp_path: Path) -> None:
    (tmp_path / "rate").write_text("hush")
    with pytest.raises(SettingsError, match=r"MESSENGER_FRAME_RATE_FILE") as told:
        load(Settings, {"MESSENGER_FRAME_RATE_FILE": str(tmp_path / "rate")})
    assert "hush" not in str(told.value)


def test_the_page_has_all_settings_as_they_are() -> None:
    assert PAGE.read_text() == settings_page(), "run `make docs`"
