"""The SDK and the page pass the conformance kit for clients, and the kit finds a client that does
not."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KIT = ROOT / "clients" / "conformance"
SDK = [sys.executable, str(KIT / "drivers" / "sdk.py")]
NODE = "node", "--experimental-websocket", "--experimental-default-type=module"
PAGE = [*NODE, str(KIT / "drivers" / "page.mjs")]

pytestmark = pytest.mark.timeout(120)


def run(kit: Path, command: list[str]) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, str(kit / "run_client.py"), *command], capture_output=True, text=True
    )
    return done.returncode, done.stdout


def _page_runs() -> bool:
    if shutil.which("node") is None:
        return False
    tried = subprocess.run([*NODE, "--input-type=module"], input="", capture_output=True, text=True)
    return bool(tried.returncode == 0)


@pytest.mark.parametrize("command", [SDK, PAGE], ids=["sdk", "page"])
def test_the_clients_conform(command: list[str]) -> None:
    if command is PAGE and not _page_runs():
        pytest.skip("there is no node with WebSockets here")
    code, told = run(KIT, command)
    assert code == 0, told
    assert told.count("passed") == len(list((KIT / "client_scripts").glob("*.jsonl")))


def test_the_kit_finds_what_a_script_does_not_allow(tmp_path: Path) -> None:
    (tmp_path / "run_client.py").write_text((KIT / "run_client.py").read_text())
    (tmp_path / "client_scripts").mkdir()
    lines = (KIT / "client_scripts" / "stay_away.jsonl").read_text().splitlines()
    about, hello, welcome, *_ = lines
    wrong = {
        "version": [about, hello.replace('"version":1', '"version":2')],
        "comes back": [about, hello, welcome, '["x",4000]', '["-",2.0]'],
        "says it": [
            *(about, hello, welcome),
            json.dumps(["!", {"send": "bob", "body": "hi"}]),
            json.dumps([">", {"t": "send", "body": "ho"}]),
        ],
    }
    for name, script in wrong.items():
        (tmp_path / "client_scripts" / f"{name}.jsonl").write_text("\n".join(script))
    code, told = run(tmp_path, SDK)
    assert (code, told.count("FAILED")) == (1, len(wrong)), told
