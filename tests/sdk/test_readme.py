"""The example of clients/python/README.md runs as it stands."""

import re
from pathlib import Path
from typing import Any

import pytest

import messenger_sdk
from tests.harness.fake_gateway import FakeGateway, Line, sent
from tests.harness.virtual import virtual_time
from tests.sdk.devices import message

_README = Path(__file__).resolve().parents[2] / "clients" / "python" / "README.md"


@virtual_time
async def test_the_example_of_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def script(line: Line) -> None:
        await line.welcome()
        (send,) = await line.sends(1)
        line.say(sent(send, 1), message(2, "At one."))
        await line.stay()

    (example,) = re.findall(r"```python\n(.*?)```", _README.read_text(), re.DOTALL)
    scope: dict[str, Any] = {}
    exec(example, scope)
    async with FakeGateway(script) as gateway:

        def client(*arguments: Any, **options: Any) -> messenger_sdk.Client:
            return messenger_sdk.Client(*arguments, dialer=gateway, **options)

        scope["Client"] = client
        await scope["main"]("http://gateway", "token", tmp_path)
        assert capsys.readouterr().out == "sent as number 1\nalice Lunch?\nbob At one.\n"
