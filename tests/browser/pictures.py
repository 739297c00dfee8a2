"""Draws the pictures of the chats that documents show, from a running local stack.

    python -m tests.browser.pictures http://127.0.0.1:8400 docs/pictures

It writes page.png and terminal.png (`messenger chat`), below 150 KB each. On a stack on which
somebody has drawn before, the names get an ending. With `--all` it writes a picture of each layout
and theme as well, for people who change the page.
"""

import argparse
import asyncio
import functools
import json
import re
import secrets
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from messenger_sdk import Client
from ops.chat.app import ChatApp
from ops.chat.listing import list_conversations
from tests.browser.conftest import start
from tests.browser.person import log_in, talk_to
from tests.browser.wait import Wait

_TALK = [
    ("bea", "Morning! Did the figures for October come in?"),
    ("ada", "Yes, an hour ago. They are better than we thought."),
    ("bea", "> ada: They are better than we thought.\nHow much better?"),
    ("ada", "Nine per cent. The report is at https://example.org/reports/october?page=2"),
    ("ada", "Page 2 has the table"),
    ("bea", "Lovely. I shall read it on the train."),
    ("bea", "Are we still on for lunch?"),
    ("ada", "One o'clock, at the harbour"),
    ("bea", "See you there"),
]
_OTHERS = {
    "carlo": "The parcel is at the reception",
    "dana": "Happy birthday!",
    "emre": "Can you look at my pull request when you have a minute? It is a small one.",
    "freya": "ok",
    "george": "Tuesday works for me",
}


def _asked(url: str, body: object | None = None, token: str = "") -> dict[str, Any]:
    """The answer of the gateway."""
    content = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    request = urllib.request.Request(url, content, headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return dict(json.load(answer))


def _token(url: str, user: str) -> str:
    return str(_asked(f"{url}/v1/login", {"user": user})["token"])


def _ending(url: str) -> str:
    """Of the names, so that these people have not talked before."""
    said = _asked(f"{url}/v1/conversations?limit=1", token=_token(url, "ada"))["conversations"]
    return f"-{secrets.token_hex(2)}" if said else ""


async def _speak(url: str, suffix: str, long: int) -> None:
    """What the people say. `long`: how many messages one conversation has besides."""
    async with AsyncExitStack() as exits:

        async def join(name: str) -> Client:
            user = f"{name}{suffix}"
            return await exits.enter_async_context(Client(url, _token(url, user), f"{name}-1"))

        people = {name: await join(name) for name in ["ada", "bea", *_OTHERS]}
        for number in range(long):
            await people["freya"].send(f"ada{suffix}", f"line {number + 1}")
        for name, body in _OTHERS.items():
            await people[name].send(f"ada{suffix}", body)
        for author, body in _TALK:
            other = "bea" if author == "ada" else "ada"
            await people[author].send(f"{other}{suffix}", body)


def _page(exits: ExitStack, url: str, width: int, height: int, dark: bool) -> webdriver.Chrome:
    folder = exits.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
    page = start(folder, width, height)
    exits.callback(page.quit)
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    phone = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    page.get(url)
    return page


async def _terminal(url: str, suffix: str) -> str:
    """`messenger chat` as an SVG."""
    user = f"ada{suffix}"
    token = _token(url, user)

    def now() -> int:
        return int(time.time() * 1000)

    async with Client(url, token, "ada-terminal") as client:
        listing = functools.partial(list_conversations, url, token)
        app = ChatApp(user, client, listing, now, f"bea{suffix}")
        async with app.run_test(size=(100, 32)) as pilot:
            async with asyncio.timeout(30):
                while app.chat.conversations[f"bea{suffix}"].unread or len(
                    app.chat.in_order()
                ) < len(_OTHERS):
                    await pilot.pause(0.1)
            await pilot.pause(1)
            await pilot.press(*"On", "space", *"my", "space", *"way")
            return app.export_screenshot()


def _draw_terminal(url: str, suffix: str, folder: Path) -> None:
    svg = asyncio.run(_terminal(url, suffix))
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    assert size is not None, "so Textual writes it"
    with ExitStack() as exits:
        file = Path(exits.enter_context(tempfile.TemporaryDirectory())) / "terminal.svg"
        file.write_text(svg)
        page = _page(exits, file.as_uri(), int(float(size[1])), int(float(size[2])), False)
        page.save_screenshot(str(folder / "terminal.png"))


def draw(url: str, folder: Path, everything: bool) -> None:
    """Writes the pictures."""
    suffix = _ending(url)
    asyncio.run(_speak(url, suffix, 30 if everything else 0))
    folder.mkdir(parents=True, exist_ok=True)
    shapes = [("page", 1100, 720, False)]
    if everything:
        shapes += [("page-dark", 1100, 720, True), ("phone", 390, 780, False)]
        shapes += [("phone-dark", 390, 780, True)]
    with ExitStack() as exits:
        for name, width, height, dark in shapes:
            page = _page(exits, url, width, height, dark)
            if everything:
                page.save_screenshot(str(folder / f"{name}-login.png"))
            log_in(page, f"ada{suffix}")
            Wait(page, 10).until(
                lambda p: len(p.find_elements(By.CSS_SELECTOR, "#contacts li")) == len(_OTHERS) + 1
            )
            if everything:
                page.save_screenshot(str(folder / f"{name}-list.png"))
            talk_to(page, f"bea{suffix}")
            Wait(page, 10).until(
                lambda p: len(p.find_elements(By.CSS_SELECTOR, ".message")) == len(_TALK)
            )
            page.find_element(By.ID, "text").send_keys("On my way", Keys.SHIFT + Keys.ENTER)
            page.save_screenshot(str(folder / f"{name}.png"))
    _draw_terminal(url, suffix, folder)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.browser.pictures")
    parser.add_argument("url", help="of a gateway in local mode")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--all", action="store_true")
    asked = parser.parse_args(arguments)
    draw(asked.url, asked.folder, asked.all)


if __name__ == "__main__":
    main()
