"""Where a device connects next, and when. Pure; times are seconds.

connecting ─→ online ─→ waiting ─→ connecting …        stopped: the server does not want it back
"""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from messenger_sdk.backoff import delay
from messenger_sdk.dialer import Closed
from messenger_sdk.errors import ConnectionRefused
from schemas.codes import Close

LASTING_SECONDS = 5.0
"""A session that ends sooner counts as another failed attempt. Otherwise every device would storm a
node that welcomes and drops."""
_REFUSED = Close.UNAUTHORIZED.number, Close.REVOKED.number
"""What a fresh token may change."""
_SECURE = {"http": 0, "ws": 0, "https": 1, "wss": 1}


class Attempt(NamedTuple):
    """The gateway to dial; `stay` asks it not to send the device to another one."""

    url: str
    stay: bool


class Gateways(NamedTuple):
    """Where a device's token may go: to the gateways at `urls`, and to which of `hosts` these send
    the device. A host that begins with a dot stands for all below it: `.nodes.example.org`."""

    urls: Sequence[str]
    hosts: Sequence[str] = ()


class Reconnecting:
    """Each attempt takes the next of the gateways' `urls`. `jitter` from [0, 1). `renews`: the
    device gets a fresh token for each attempt, so a token that was refused is tried once more."""

    def __init__(self, gateways: Gateways, jitter: Callable[[], float], renews: bool) -> None:
        self._urls = itertools.cycle(gateways.urls)
        self._hosts = [*gateways.hosts, *(_host(url) for url in gateways.urls)]
        self._jitter = jitter
        self._renews = renews
        self._attempt = Attempt("", False)
        self._redirected: str | None = None
        self._stay = False
        self._failures = 0
        self._refusals = 0

    def next(self) -> Attempt:
        """Where to connect now."""
        if self._redirected is not None:
            self._attempt = Attempt(self._redirected, True)
        else:
            self._attempt = Attempt(next(self._urls), self._stay)
        self._redirected, self._stay = None, False
        return self._attempt

    def ended(self, closed: Closed, lasted: float | None) -> float:
        """Seconds to wait before the next attempt. `lasted`: seconds since the welcome, None if
        there was none.

        Raises ConnectionRefused if the server does not want this device back.
        """
        if lasted is not None:
            self._refusals = 0
        if lasted is not None and lasted >= LASTING_SECONDS:
            self._failures = 0
        if closed.code in _REFUSED and self._renews and not self._refusals:
            self._refusals += 1
        elif 4500 <= closed.code < 5000:
            raise ConnectionRefused(closed.code)
        if lasted is None and self._attempt.stay:
            self._stay = True  # the other node cannot be reached: do not be sent there again
        if closed.code == Close.REDIRECTED.number and closed.reason:
            known = self._known(_host(closed.reason))
            if not self._attempt.stay and known and _is_as_secure(closed.reason, self._attempt.url):
                self._redirected = closed.reason
                return 0.0
            self._stay = True
        self._failures += 1
        return delay(self._failures - 1, self._jitter())

    def _known(self, host: str) -> bool:
        """Whether the token may go there: 4006 repeats what somebody has written into Redis."""
        return bool(host) and any(
            host.endswith(one) if one.startswith(".") else host == one for one in self._hosts
        )


def _host(url: str) -> str:
    """Empty if there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_as_secure(url: str, than: str) -> bool:
    """Whether a token that may go to `than` may go to `url`: https never becomes http."""
    here, there = urlsplit(than), urlsplit(url)
    return bool(there.hostname) and _SECURE.get(there.scheme, -1) >= _SECURE.get(here.scheme, 1)
