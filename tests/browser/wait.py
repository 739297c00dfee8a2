"""Waiting for what a page shows."""

from collections.abc import Iterable
from functools import partial

from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.support.ui import WebDriverWait

MEANWHILE: Iterable[type[Exception]] = (StaleElementReferenceException,)
"""An element that the page has drawn anew since it was found is looked for once more."""

Wait = partial(WebDriverWait, ignored_exceptions=MEANWHILE)
