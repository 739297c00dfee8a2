"""The vectors of clients/vectors on the page's device, in the browser it is for."""

import json
from pathlib import Path

import pytest
from selenium import webdriver

pytestmark = [pytest.mark.real, pytest.mark.browser]

_FOLDER = Path(__file__).resolve().parents[2] / "clients" / "vectors"
_PLAY = Path(__file__).with_name("vectors.js").read_text().replace("export function", "function")


def test_the_device_does_as_the_vectors_say(site: str, browser: webdriver.Chrome) -> None:
    browser.get(site)
    wrong = {}
    for path in sorted(_FOLDER.glob("*.json")):
        result = browser.execute_async_script(
            _PLAY
            + """
            const [vector, done] = arguments;
            import("/device.js")
              .then(({ Device }) => done(play(Device, vector)))
              .catch((error) => done(String(error.stack)));
            """,
            json.loads(path.read_text()),
        )
        if result is not None:
            wrong[path.stem] = result
    assert not wrong
