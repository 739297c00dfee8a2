"""docs/OPERATIONS.md, "Install": processes take the settings and commands that it shows."""

from pathlib import Path

import pytest

from connectors.environment import load
from gateway.settings import GatewaySettings
from ops.cli import main
from tests.harness.command_line import parse
from tests.harness.documents import blocks, section

BLOCKS = {
    one.language: one.code
    for one in blocks(section("docs/OPERATIONS.md", "Install"))
    if one.language
}


def test_a_gateway_takes_the_settings(tmp_path: Path) -> None:
    (tmp_path / "gateway").mkdir()
    for name in ("gateway/kafka", "gateway/redis", "gateway/clickhouse"):
        (tmp_path / name).write_text("an-address")
    secrets = ("status-token", "messages-token", "gateway/operator-secret")
    for name, letter in zip(secrets, "abc", strict=True):
        (tmp_path / name).write_text(letter * 64)
    file = tmp_path / "gateway.toml"
    file.write_text(BLOCKS["toml"].replace("/etc/messenger", str(tmp_path)))
    taken = load(GatewaySettings, {"MESSENGER_SETTINGS": str(file)})
    assert (taken.kafka, taken.messages_token) == ("an-address", "b" * 64)
    assert (taken.partitions, taken.token_device) == (8, True)


def test_messenger_takes_the_units_command() -> None:
    (started,) = [line for line in BLOCKS["ini"].splitlines() if "ExecStart=" in line]
    program, *words = started.partition("=")[2].split()
    assert program.endswith("/messenger")
    parse(main, words)
    with pytest.raises(Exception, match="is not one of"):
        parse(main, [*words, "sequencers"])
