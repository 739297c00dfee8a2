"""Hostile sockets beside honest pairs: how much later an honest message comes, attack by attack."""

import json
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import jwt

from bench import attackers
from bench.attackers import Attack, Hostile, Script, logged_in
from bench.curve import PAIRS, percentiles, warm
from bench.generator import UPGRADE, Device, Generator, masked
from bench.system import Checkout, System, system
from gateway.edge.tokens import issue
from schemas.ids import user_id

_RATE = 200.0
"""Honest messages a second."""
_SOCKETS = 1_000
_LOGIN_EACH = 0.5
_REST_SECONDS = 4.0
"""After an attack: what it has left behind is no part of the next one."""
_RESULTS = Path(__file__).parent / "results"
_AT_ONCE = 8
"""Questions in one WebSocket message: as many as a node answers a device at once."""


def _frames(*frames: dict[str, Any]) -> bytes:
    return masked("\n".join(json.dumps(frame) for frame in frames).encode())


def _typing(who: Hostile) -> Script:
    flood = _frames(*[{"t": "typing", "conversation": who.conversation}] * 200)
    return logged_in(who, lambda _: flood)


def _pings(who: Hostile) -> Script:
    """Of the WebSocket, and no frames of ours."""
    flood = (b"\x89\x80" + bytes(4)) * 5_000
    return logged_in(who, lambda _: flood)


def _watch(who: Hostile) -> Script:
    users = [f"somebody{who.number}-{n}" for n in range(199)] + [who.peer]
    flood = _frames(*({"t": "watch", "id": n, "users": users} for n in range(_AT_ONCE)))
    return logged_in(who, lambda _: flood)


def _sync(who: Hostile) -> Script:
    flood = _frames(*({"t": "sync", "id": n, "cursors": {}} for n in range(_AT_ONCE)))
    return logged_in(who, lambda _: flood)


def _history(who: Hostile) -> Script:
    page = {"t": "history", "conversation": who.conversation}
    flood = _frames(*({**page, "id": n, "before": 10 + n * 30} for n in range(1, _AT_ONCE + 1)))
    return logged_in(who, lambda _: flood)


def _receipts(who: Hostile) -> Script:
    strangers = [":".join(sorted((who.user, f"stranger{who.number}-{n}"))) for n in range(199)]
    flood = _frames(
        *({"t": "read", "conversation": one, "seq": 1} for one in (*strangers, who.conversation))
    )
    return logged_in(who, lambda _: flood)


def _sends(who: Hostile) -> Script:
    outbox = os.urandom(16).hex()

    def flood(turn: int) -> bytes:
        sends = (attackers.send(who.peer, outbox, turn * 50 + n, "x" * 100) for n in range(1, 51))
        return masked("\n".join(sends).encode())

    return logged_in(who, flood)


def _log_outs(who: Hostile) -> Script:
    token = issue(user_id(who.user), who.secret, time.time())
    return Script(
        b"",
        lambda turn: (
            f"DELETE /v1/devices/made-up-{who.number}-{turn} HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {token}\r\n\r\n"
        ).encode(),
    )


def _requests(who: Hostile) -> Script:
    request = f"GET /v1/node?user=x{who.number} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    return Script(b"", lambda _: request)


def _silent(who: Hostile) -> Script:
    return Script(UPGRADE)


def _slow(who: Hostile) -> Script:
    """A third each: the request, a request's body, the hello."""
    body = (
        b"POST /v1/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: 10000\r\n\r\n"
    )
    opening = (UPGRADE, body + b" " * 10_000, UPGRADE + who.hello())[who.number % 3]
    return Script(opening, a_byte_each=0.2)


def _deaf(who: Hostile) -> Script:
    """They log in and read nothing more, nor answer pings; one in ten writes to all the others."""
    if who.number // attackers.USERS % 10 == 0:
        return _sends(who)
    return logged_in(who, None, deaf=True)


def _malformed(who: Hostile) -> Script:
    bad = (
        b"\x81\xff" + (2**62).to_bytes(8, "big") + bytes(4) + b"x" * 1000,  # a giant frame
        masked(b"[" * 200_000),
        masked(b'{"t":"hello","id":1,"token":"\xff\xfe\xc0"}'),
        b"\x01\x81" + bytes(4) + b"x" + (b"\x00\x81" + bytes(4) + b"x") * 20_000,  # fragments
        masked(b'{"t":"hello","id":' + b"9" * 100_000 + b"}"),
    )
    return Script(UPGRADE + bad[who.number % len(bad)])


def _tokens(who: Hostile) -> Script:
    good = {"sub": who.user, "iat": time.time(), "exp": time.time() + 3600}
    bad = (
        jwt.encode(good, "another secret that is long enough", "HS256"),
        jwt.encode({**good, "exp": time.time() - 3600}, who.secret, "HS256"),
        jwt.encode(good, "", "none"),
        "x" * 8_000,
    )
    return Script(UPGRADE + who.hello(bad[who.number % len(bad)]))


ATTACKS: dict[str, tuple[Attack, int]] = {
    "typing": (_typing, _SOCKETS),
    "pings": (_pings, _SOCKETS),
    "watch": (_watch, _SOCKETS),
    "sync": (_sync, _SOCKETS),
    "history": (_history, _SOCKETS),
    "receipts": (_receipts, _SOCKETS),
    "log-outs": (_log_outs, _SOCKETS),
    "sends": (_sends, _SOCKETS),
    "requests": (_requests, _SOCKETS),
    "silent": (_silent, 2 * _SOCKETS),
    "slow": (_slow, _SOCKETS),
    "deaf": (_deaf, _SOCKETS),
    "malformed": (_malformed, _SOCKETS),
    "tokens": (_tokens, _SOCKETS),
}
"""What each hostile socket plays, and how many there are."""


def measure(
    checkout: Checkout, seconds: float, factor: float, names: Collection[str]
) -> dict[str, Any]:
    """Each attack by itself, on one stack with the limits of production. `factor` is that of the
    number of sockets."""
    found: dict[str, Any] = {}
    with system(checkout, environment={}) as stack:
        warm(stack, 25.0 * min(1.0, factor))
        for name in names:
            attack, sockets = ATTACKS[name]
            found[name] = _one(stack, attack, int(sockets * factor), seconds)
            print(f"{name}: {json.dumps(found[name])}", file=sys.stderr, flush=True)
            time.sleep(_REST_SECONDS)
    return found


def _one(stack: System, attack: Attack, sockets: int, seconds: float) -> dict[str, Any]:
    users = attackers.introduce_each_other(stack.gateway, stack.secret, os.urandom(3).hex())
    generator = Generator(stack.gateway, stack.secret, PAIRS, seed=7)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    playing = context.Process(
        target=attackers.play, args=(attack, sockets, stack.gateway, users, stack.secret, theirs)
    )
    logins = _Logins(stack)
    try:
        generator.poisson(_RATE, 1.5)
        before = _latencies(generator, seconds)
        playing.start()
        while not ours.poll():
            generator.poisson(_RATE, 0.1)
        ours.recv()
        logins.start()
        meanwhile = _latencies(generator, seconds)
        logins.stopped.set()
        ours.send("stop")
        while not ours.poll():
            generator.poisson(_RATE, 0.1)
        got, megabytes = ours.recv()
        verdict = generator.settle(15)
    except ConnectionError as error:
        return {"sockets": sockets, "failed": str(error)}
    finally:
        logins.stopped.set()
        if playing.pid is not None:
            playing.kill()
            playing.join()
        generator.close()
    calm, attacked = percentiles(before), percentiles(meanwhile)
    return {
        "sockets": sockets,
        "before_ms": calm,
        "meanwhile_ms": attacked,
        "ratio": round(attacked["p99"] / calm["p99"], 2),
        "login_ms": percentiles(logins.each),
        "logins_turned_away": logins.turned_away,
        "attackers_sent_mb_a_second": round(megabytes / seconds, 2),
        "attackers_got_a_second": {
            what: round(count / seconds, 1) for what, count in sorted(got.items())
        },
        "verdict": verdict._asdict(),
    }


def _latencies(generator: Generator, seconds: float) -> list[float]:
    generator.reset()
    generator.poisson(_RATE, seconds)
    return generator.latencies


class _Logins(threading.Thread):
    """Honest devices that come meanwhile, one each half second."""

    def __init__(self, stack: System) -> None:
        super().__init__(daemon=True)
        self._node, self._secret = stack.gateway, stack.secret
        self.turned_away = 0
        self.stopped = threading.Event()
        self.each: list[float] = []

    def run(self) -> None:
        while not self.stopped.wait(_LOGIN_EACH):
            began = time.monotonic()
            while not self.stopped.is_set():
                try:
                    device = Device("newcomer", "nobody", self._node, self._secret, "d")
                except OSError:
                    self.turned_away += 1
                    time.sleep(0.1)
                else:
                    self.each.append(time.monotonic() - began)
                    device.sock.close()
                    break


def keep(results: dict[str, Any]) -> None:
    """Write what was measured into bench/results/hostile.json, beside the attacks that were
    measured before, and make the page of all."""
    file = _RESULTS / "hostile.json"
    kept = json.loads(file.read_text()) if file.exists() else {}
    measured = results["parts"]["hostile"]
    for name, figures in measured.items() if "left_out" not in measured else ():
        kept[name] = {**figures, "when": results["when"], "commit": results["commit"]}
    kept = {name: kept[name] for name in ATTACKS if name in kept}
    file.write_text(json.dumps(kept, indent=1) + "\n")
    (_RESULTS / "hostile.md").write_text(_page(kept))


_HEAD = """# Hostile sockets beside 100 honest pairs

By `python -m bench --only hostile`, and `--attacks NAME,…` for some. 100 pairs send 200 messages/s
at random times on a stack of one node with the limits of production; then the hostile sockets of 10
users, or of strangers, come from 10 addresses and play one attack as fast as they are read. All
share the machine; the attackers have its lowest priority, and the kernel keeps 64 KiB for each of
their sockets. "ratio" is that of p99. "MB/s" is what the attackers sent. "got" is what the node
answered, a second: codes of `error` frames, of closed sockets, of HTTP. "login" is how long an
honest device that comes meanwhile waits for `welcome`. No message was lost, shown twice or out of
order unless the row says so.

| attack | sockets | p50 / p99 ms before | meanwhile | ratio | login p50 / p99 | MB/s | got | when |
|---|---|---|---|---|---|---|---|---|
"""


def _page(kept: dict[str, Any]) -> str:
    return _HEAD + "".join(_row(name, figures) for name, figures in kept.items())


def _row(name: str, of: dict[str, Any]) -> str:
    got = of["attackers_got_a_second"]
    cells = (
        name,
        str(of["sockets"]),
        *(f"{of[key]['p50']} / {of[key]['p99']}" for key in ("before_ms", "meanwhile_ms")),
        str(of["ratio"]),
        f"{of['login_ms']['p50']} / {of['login_ms']['p99']}",
        str(of["attackers_sent_mb_a_second"]),
        ", ".join(f"{what}: {rate:,.0f}" for what, rate in got.items() if rate >= 1) or "nothing",
        f"{of['when']}, {of['commit']}",
    )
    faults = {fault: count for fault, count in of["verdict"].items() if count}
    return f"| {' | '.join(cells)} |{f' {faults}' if faults else ''}\n"
