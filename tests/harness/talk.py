"""People who talk through a stack by the SDK, and what their devices showed."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Self

from gateway.edge.tokens import issue
from messenger_sdk import Client, Event, MessageReceived
from ops.audit.devices import Shown, judge_devices
from ops.audit.verdict import Verdict
from schemas.ids import user_id
from tests.harness.client import BreakableClient
from tests.harness.stack import Stack

_HEADS_SECONDS = 5.0


class Talk:
    """Devices of several users on a stack's gateways. `names` are prefixed so that talks on one
    stack do not meet."""

    def __init__(self, stack: Stack, prefix: str) -> None:
        self._stack = stack
        self._prefix = prefix
        self._exits = AsyncExitStack()
        self._watching: list[asyncio.Task[None]] = []
        self._joined = itertools.count()
        self.clients: dict[str, BreakableClient] = {}
        self.heard: dict[str, list[Event]] = {}
        """All events of a device (user/device)."""
        self.shown: dict[str, list[Shown]] = {}
        self.accepted: list[Shown] = []
        self.longest_gap = 0.0
        """Longest time in seconds between two sends that one conversation got through, since it was
        last set to 0."""
        self.last: dict[str, float] = {}
        """When a conversation last got a send through (monotonic seconds)."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)
        await self._exits.aclose()

    def user(self, name: str) -> str:
        return f"{self._prefix}-{name}"

    async def join(
        self, name: str, device: str = "one", gateway: int | None = None
    ) -> BreakableClient:
        """Another device of a user, online; it tries this gateway first, or each device another."""
        user = self.user(name)
        urls = self._stack.gateway_urls
        first = (next(self._joined) if gateway is None else gateway) % len(urls)
        token = issue(user_id(user), self._stack.token_secret, time.time())
        client = await self._exits.enter_async_context(
            BreakableClient(urls[first:] + urls[:first], token, device)
        )
        self.clients[f"{user}/{device}"] = client
        self._watching.append(asyncio.create_task(self._watch(f"{user}/{device}", client)))
        async with asyncio.timeout(60):
            await client.online()
        # a device shows what came while it was away from its first heads on; without a worker there
        # are none
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_HEADS_SECONDS):
                await client.caught_up()
        return client

    async def _watch(self, device: str, client: Client) -> None:
        heard, shown = self.heard[device], self.shown[device] = [], []
        async for event in client:
            heard.append(event)
            if isinstance(event, MessageReceived):
                shown.append(Shown(event.conversation, event.seq, event.key, event.body))

    async def say(self, client: Client, to: str, bodies: Sequence[str]) -> None:
        """Send in order, not waiting in between, until all are sent."""
        for sent in asyncio.as_completed([self.begin(client, to, body) for body in bodies]):
            await sent

    def begin(self, client: Client, to: str, body: str) -> "asyncio.Task[None]":
        """Send one message now; the task ends when it is sent."""
        sending = client.submit(self.user(to), body)

        async def wait() -> None:
            sent = await sending
            self.sent(sent.conversation, sent.seq, body)

        return asyncio.create_task(wait())

    def sent(self, conversation: str, seq: int, body: str) -> None:
        self.accepted.append(Shown(conversation, seq, body, body))
        now = time.monotonic()
        self.longest_gap = max(self.longest_gap, now - self.last.get(conversation, now))
        self.last[conversation] = now

    async def settle(self, timeout: float = 60) -> None:
        """Wait until every device has shown all that was accepted for its user."""
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            if all(
                len(shown)
                >= sum(
                    device.split("/")[0] in message.conversation.split(":")
                    for message in self.accepted
                )
                for device, shown in self.shown.items()
            ):
                return
            await asyncio.sleep(0.1)

    def verdict(self) -> Verdict:
        """The devices' verdict. Bodies are unique, so they stand for the keys."""
        verdict = Verdict()
        shown = {
            device: [message._replace(key=message.body) for message in all_]
            for device, all_ in self.shown.items()
        }
        judge_devices(self.accepted, shown, verdict)
        return verdict
