"""The benchmark finds XMPP's stanzas, and compares ejabberd's figures with ours."""

import json
from base64 import b64decode, urlsafe_b64decode
from pathlib import Path
from typing import Any

import jwt

from bench.ejabberd import Ejabberd, configuration
from bench.peer_table import peer_table
from bench.runs import combine
from bench.xmpp import login_steps, stanzas

_MESSAGE = (
    b"<message to='a@localhost' from='b@localhost/x' type='chat' id='k1'>"
    b"<stanza-id by='a@localhost' id='17' xmlns='urn:xmpp:sid:0'/>"
    b"<body>1 &lt; 2 &amp; 3 / 4</body></message>"
)
_ARCHIVED = (
    b"<message to='a@localhost/x'><result id='17' xmlns='urn:xmpp:mam:2'>"
    b"<forwarded xmlns='urn:xmpp:forward:0'>" + _MESSAGE + b"</forwarded></result></message>"
)
_SHORT = [b"<r xmlns='urn:xmpp:sm:3'/>", b"<a h='3' xmlns='urn:xmpp:sm:3'/>"]


def test_stanzas_are_found_whole_also_if_one_is_in_another() -> None:
    whole = [*_SHORT, _MESSAGE, _ARCHIVED, _SHORT[0]]
    assert stanzas(b"".join(whole)) == (whole, b"")


def test_a_part_of_a_stanza_is_kept_until_the_rest_comes() -> None:
    wire = _ARCHIVED + _SHORT[0]
    for cut in range(len(wire)):
        found, rest = stanzas(wire[:cut])
        more, nothing = stanzas(rest + wire[cut:])
        assert ([*found, *more], nothing) == ([_ARCHIVED, _SHORT[0]], b""), cut


def test_ejabberd_takes_the_token_that_a_user_logs_in_with() -> None:
    server = Ejabberd("23.01", ("127.0.0.1", 1), "s" * 32, 0)
    steps = login_steps("ann", server.token("ann"), "phone", sync=False)
    proof = steps[1][0].partition(b">")[2].partition(b"<")[0]
    _, user, token = b64decode(proof).decode().split("\0")
    key = json.loads(configuration(5222, Path("/"), server.secret, archive=True)["key.jwk"])["k"]
    claims = jwt.decode(token, urlsafe_b64decode(key + "=" * (-len(key) % 4)), algorithms=["HS256"])
    assert (user, claims["jid"]) == ("ann", "ann@localhost")


def _run(scale: float) -> dict[str, Any]:
    return {
        "messages_per_second": 200.0,
        "messages_per_cpu_second": 1_000 / scale,
        "ms": {"p50": 2.0 * scale, "p95": 4.0 * scale, "p99": 5.0 * scale},
        "cores": 0.2 * scale,
        "marks_per_message": 1.0,
        "verdict": {"lost": 0, "twice": 0, "out_of_order": int(scale)},
    }


def test_the_table_gives_what_we_need_as_a_multiple_of_what_ejabberd_needs() -> None:
    login = combine([{"logins_per_second": 500, "us": {"ejabberd": 400}}])
    loads = {"200/s": combine([_run(1.0)]), "50/s": combine([_run(1.0)])}
    peer = {
        "version": "23.01",
        "loads": loads,
        "without_archive": {"200/s": combine([_run(4.0)])},
        "idle": combine([{"cores": 0.0}]),
        "logins": {"known": login},
        "connections": combine([{"kib_per_connection": 20.0}]),
    }
    ours = {
        "curve": {"200/s": combine([_run(2.0)])},
        "idle": combine([{"cores": 0.1}]),
        "logins": {
            "known": combine([{"logins_per_second": 1000, "us": {"gateway-1": 60, "redis": 40}}])
        },
    }
    lines = peer_table({"peer": peer, **ours})
    assert lines[0] == "## Beside ejabberd 23.01 in this run: we / ejabberd = ratio"
    assert (
        "| 200/s | 200 / 200 = 1.00 | 4 / 2 = 2.00 | 8 / 4 = 2.00 | 10.0 / 5 = 2.00 "
        "| 0.4 / 0.2 = 2.00 | 2,000 / 1,000 = 2.00 | 1 / 1 = 1.00 | 0 / 0 / 2; 0 / 0 / 1 |"
    ) in lines
    assert any(line.startswith("| 200/s | 200 / 200 = 1.00 | 4 / 8 = 0.50 |") for line in lines)
    assert any(line.startswith("| 50/s | – / 200 | – / 2 |") for line in lines)
    assert "| the idle servers: cores | 0.1 / 0 |" in lines
    assert "| logins/s, known user | 1,000 / 500 = 2.00 |" in lines
    assert "| CPU us a login, known user | 100 / 400 = 0.25 |" in lines
    assert "| KiB a connection | – / 20.0 |" in lines
    assert peer_table(ours) == []
