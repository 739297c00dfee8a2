"""Which tokens this server takes, and that it takes no token that anybody has changed."""

import base64
import json
import random

import jwt
import pytest

from gateway.edge.tokens import BadToken, issue, issue_operator, verify
from schemas.ids import user_id

SECRET, NOW = "s" * 32, 1_000_000.0


def taken(token: str) -> bool:
    try:
        verify(token, SECRET, NOW)
    except BadToken:
        return False
    return True


def test_what_is_issued_is_taken_until_it_expires() -> None:
    token = issue(user_id("alice"), SECRET, NOW, 60)
    assert verify(token, SECRET, NOW + 59) == "alice"
    with pytest.raises(BadToken, match="expired"):
        verify(token, SECRET, NOW + 60)
    with pytest.raises(BadToken, match="missing"):
        verify("", SECRET, NOW)
    assert not taken(issue(user_id("alice"), "t" * 32, NOW))
    assert not taken(issue_operator(SECRET, NOW))


def test_what_another_issuer_adds_does_no_harm() -> None:
    claims = {"sub": "alice", "exp": NOW + 60.5, "iss": "a", "jti": "b", "nested": {"a": [1]}}
    token = jwt.encode(claims, SECRET, algorithm="HS256", headers={"kid": "1"})
    assert taken(token)


@pytest.mark.parametrize(
    ("header", "claims"),
    [
        ({"alg": "none"}, {"sub": "alice", "exp": NOW + 1}),
        ({"alg": "HS512"}, {"sub": "alice", "exp": NOW + 1}),
        ({"alg": "HS256", "crit": ["b64"], "b64": False}, {"sub": "alice", "exp": NOW + 1}),
        ({}, {"sub": "alice", "exp": NOW + 1}),
        ([], {"sub": "alice", "exp": NOW + 1}),
        ({"alg": "HS256"}, {"sub": "alice"}),
        ({"alg": "HS256"}, {"exp": NOW + 1}),
        ({"alg": "HS256"}, {"sub": 7, "exp": NOW + 1}),
        ({"alg": "HS256"}, {"sub": "a b", "exp": NOW + 1}),
        ({"alg": "HS256"}, {"sub": "alice", "exp": "9999999999"}),
        ({"alg": "HS256"}, {"sub": "alice", "exp": float("nan")}),
        ({"alg": "HS256"}, {"sub": "alice", "exp": NOW + 1, "aud": "others"}),
        ({"alg": "HS256"}, ["alice"]),
    ],
)
def test_signed_but_wrong(header: object, claims: object) -> None:
    assert not taken(signed(json.dumps(header).encode(), json.dumps(claims).encode()))


def signed(header: bytes, claims: bytes) -> str:
    """With the right signature."""
    segments = [base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, claims)]
    message = b".".join(segments)
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
        message, SECRET.encode()
    )
    return b".".join((message, base64.urlsafe_b64encode(signature).rstrip(b"="))).decode()


def test_a_token_that_was_changed_anywhere_is_not_taken() -> None:
    token = issue(user_id("alice"), SECRET, NOW)
    assert taken(token)
    chance = random.Random(5)
    for _ in range(2000):
        place = chance.randrange(len(token))
        other = chance.choice("abcxyzABC019-_.=é \n\0")
        changed = token[:place] + other + token[place + chance.randrange(2) :]
        if changed != token:
            assert not taken(changed), changed
    for changed in (token + ".", token[:-1], "." + token, "..", "a.b", token * 2):
        assert not taken(changed)
