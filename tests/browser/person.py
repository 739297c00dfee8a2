"""What a person does with a page, and sees of it."""

import os
from pathlib import Path

from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.browser.wait import Wait


def log_in(page: webdriver.Chrome, name: str) -> None:
    page.find_element(By.ID, "name").clear()  # of who was there last
    page.find_element(By.ID, "name").send_keys(name, Keys.ENTER)
    Wait(page, 10).until(lambda p: p.find_element(By.ID, "connection").text == "online")


def talk_to(page: webdriver.Chrome, contact: str) -> None:
    page.find_element(By.ID, "contact").send_keys(contact, Keys.ENTER)


def say(page: webdriver.Chrome, text: str) -> None:
    page.find_element(By.ID, "text").send_keys(text, Keys.ENTER)


def shown(page: webdriver.Chrome) -> list[tuple[str, str]]:
    """(body, tick) of every message, as a person sees them."""
    items = page.execute_script(
        "return [...document.querySelectorAll('#messages .message')].map((item) =>"
        " [item.querySelector('.body').innerText, item.querySelector('.tick').textContent])"
    )  # at once: in between they may be drawn again
    return [(body, tick) for body, tick in items]


def wait_for(page: webdriver.Chrome, expected: list[tuple[str, str]]) -> None:
    try:
        Wait(page, 10).until(lambda p: shown(p) == expected)
    except TimeoutException:
        raise AssertionError(f"expected {expected}, shows {shown(page)}") from None


def picture(page: webdriver.Chrome, name: str) -> None:
    """A screenshot for people, where MESSENGER_PICTURES names a folder."""
    folder = os.environ.get("MESSENGER_PICTURES")
    if folder:
        page.save_screenshot(str(Path(folder) / f"{name}.png"))


def unread(page: webdriver.Chrome) -> dict[str, str]:
    """Contact → badge of each conversation that has one."""
    items = page.find_elements(By.CSS_SELECTOR, "#contacts button")
    badges = {
        item.find_element(By.CLASS_NAME, "name").text: item.find_elements(By.CLASS_NAME, "unread")
        for item in items
    }
    return {name: found[0].text for name, found in badges.items() if found and found[0].text}


def presence(page: webdriver.Chrome) -> str:
    """What is said of the contact whose conversation is open."""
    return str(page.find_element(By.ID, "presence").text)
