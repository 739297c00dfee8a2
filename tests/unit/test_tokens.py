"""Which tokens this server takes, and that it takes no token that anybody has changed."""

import asyncio
import base64
import hmac
import json
import random
from collections.abc import Sequence
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from connectors.dependency import Dependency
from gateway.edge import tokens as module
from gateway.edge.key_set import KeySet, WrongKeySet, parse_key_set
from gateway.edge.tokens import (
    MAX_LIFETIME_SECONDS,
    BadToken,
    JwtVerifier,
    Login,
    Secrets,
    TokenRules,
    Why,
    issue,
    issue_operator,
    verify_operator,
)
from schemas.ids import user_id
from tests.harness.virtual import virtual_time

SECRET, NOW = "s" * 32, 1_000_000.0


def login(token: str, now: float = NOW, rules: TokenRules = TokenRules()) -> Login:  # noqa: B008
    return JwtVerifier([Secrets(SECRET)], rules).verify(token, now)


def made(**claims: object) -> str:
    return jwt.encode({"sub": "alice", "exp": NOW + 60, **claims}, SECRET, algorithm="HS256")


def why(token: str, now: float = NOW, rules: TokenRules = TokenRules()) -> Why | None:  # noqa: B008
    try:
        login(token, now, rules)
    except BadToken as bad:
        return bad.why
    return None


def taken(token: str) -> bool:
    try:
        login(token)
    except BadToken:
        return False
    return True


def test_what_is_issued_is_taken_until_it_expires() -> None:
    token = issue(user_id("alice"), SECRET, NOW, 60)
    assert login(token, NOW + 59) == ("alice", None, NOW + 60, NOW)
    with pytest.raises(BadToken, match=r"^the token has expired$"):
        login(token, NOW + 60)
    with pytest.raises(BadToken, match=r"^the token is missing$"):
        login("")
    with pytest.raises(BadToken, match=r"^the token is not one that this server takes$"):
        login("garbage")
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
        ({"alg": "HS256"}, {"sub": "alice", "exp": float("inf")}),
        ({"alg": "HS256"}, {"sub": "alice", "exp": True}),
        ({"alg": "HS256"}, {"sub": "alice", "exp": 10**400}),
        ({"alg": "HS256"}, {"sub": "alice", "exp": NOW + MAX_LIFETIME_SECONDS + 1}),
        ({"alg": "HS256"}, {"sub": "alice", "exp": NOW + 1, "nbf": NOW + 1}),
        ({"alg": "HS256"}, {"sub": "alice", "exp": NOW + 1, "nbf": float("nan")}),
        ({"alg": "HS256"}, {"sub": "alice", "exp": NOW + 1, "iat": NOW + 1}),
        ({"alg": "HS256"}, {"sub": "alice", "exp": NOW + 1, "iat": "then"}),
        ({"alg": "HS256"}, {"sub": "alice", "exp": NOW + 1, "device": "no/slash"}),
        ({"alg": "HS256"}, {"sub": "alice", "exp": NOW + 1, "device": 7}),
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


def test_leeway_forgives_clocks_that_differ_and_no_more() -> None:
    rules = TokenRules(leeway=5)
    token = made(nbf=NOW, iat=NOW)
    assert why(token, NOW - 5, rules) is None
    assert why(token, NOW - 6, rules) is Why.NOT_YET
    assert login(token, NOW, rules).expires == NOW + 65
    assert why(token, NOW + 64, rules) is None
    assert why(token, NOW + 65, rules) is Why.EXPIRED


def test_issuer_audience_and_device_are_demanded_if_the_rules_say_so() -> None:
    rules = TokenRules(issuer="us", audience="messenger", names_device=True)
    good = {"iss": "us", "aud": ["messenger", "others"], "device": "phone"}
    assert login(made(**good), rules=rules).device == "phone"
    for changed, reason in (
        ({"iss": "them"}, Why.WRONG),
        ({"iss": None}, Why.WRONG),
        ({"aud": "others"}, Why.WRONG),
        ({"aud": None}, Why.WRONG),
        ({"device": None}, Why.OTHER_DEVICE),
    ):
        claims = {name: one for name, one in {**good, **changed}.items() if one is not None}
        assert why(made(**claims), rules=rules) is reason, changed


def test_the_previous_secret_counts_while_the_secret_is_replaced() -> None:
    old, new = issue(user_id("alice"), SECRET, NOW), issue(user_id("alice"), "n" * 32, NOW)
    both, later = Secrets("n" * 32, SECRET), Secrets("n" * 32)
    for token in (old, new):
        assert JwtVerifier([both], TokenRules()).verify(token, NOW).user == "alice"
    assert JwtVerifier([later], TokenRules()).verify(new, NOW).user == "alice"
    with pytest.raises(BadToken):
        JwtVerifier([later], TokenRules()).verify(old, NOW)


class Ring:
    """Keys that come and go."""

    def __init__(self, *secrets: str) -> None:
        self.keys = [key for secret in secrets for key in Secrets(secret).of("")]

    def of(self, token: str) -> Sequence[jwt.PyJWK]:
        return self.keys


def test_a_signature_is_checked_once_as_long_as_its_key_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checks: list[str] = []
    decode = jwt.decode

    def counted(token: str, *rest: Any, **named: Any) -> Any:
        checks.append(token)
        return decode(token, *rest, **named)

    monkeypatch.setattr(jwt, "decode", counted)
    ring = Ring(SECRET)
    verifier = JwtVerifier([ring], TokenRules())
    token, other = made(), made(sub="bob")
    for _ in range(3):
        assert verifier.verify(token, NOW).user == "alice"
        assert verifier.verify(other, NOW).user == "bob"
    assert checks == [token, other]
    for late in (NOW + 60, NOW + 61):
        with pytest.raises(BadToken) as bad:
            verifier.verify(token, late)
        assert bad.value.why is Why.EXPIRED
    wrong = token[:-4] + other[-4:]
    for _ in range(2):
        with pytest.raises(BadToken):
            verifier.verify(wrong, NOW)
    ring.keys = Ring("n" * 32).keys
    with pytest.raises(BadToken):
        verifier.verify(token, NOW)
    ring.keys = Ring(SECRET).keys
    monkeypatch.setattr(module, "MAX_CHECKED", 2)
    checks.clear()
    for _ in range(2):
        for claims in ({"sub": "dave"}, {"sub": "carol"}, {}):
            verifier.verify(made(**claims), NOW)
    assert len(checks) > 3, "no more are remembered"
    assert len(verifier._checked) <= 2


def test_a_huge_token_is_not_even_looked_at() -> None:
    assert taken(made(more="x" * 1000))
    assert not taken(made(more="x" * 10_000))


def test_an_operators_token_is_of_a_key_of_its_own_and_short() -> None:
    verify_operator(issue_operator("o" * 32, NOW), "o" * 32, NOW)
    claims = {"aud": "messenger-operators", "exp": NOW + 3600}
    long = jwt.encode(claims, "o" * 32, algorithm="HS256")
    for token in ("", "garbage", issue_operator(SECRET, NOW), issue_operator("o" * 32, 0), long):
        with pytest.raises(BadToken):
            verify_operator(token, "o" * 32, NOW)
    with pytest.raises(BadToken, match="MESSENGER_OPERATOR_SECRET"):
        verify_operator(issue_operator(SECRET, NOW), None, NOW)


# Key sets

PRIVATE: dict[str, Any] = {
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
    "RS256": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
}
MAKERS: dict[str, Any] = {"EdDSA": OKPAlgorithm, "RS256": RSAAlgorithm, "ES256": ECAlgorithm}


def public(algorithm: str, kid: str | None, **more: object) -> dict[str, object]:
    """An entry of a JWKS."""
    entry = json.loads(MAKERS[algorithm].to_jwk(PRIVATE[algorithm].public_key()))
    return {**entry, **({} if kid is None else {"kid": kid}), **more}


def document(*entries: object) -> bytes:
    return json.dumps({"keys": entries}).encode()


def signed_by(algorithm: str, kid: str | None) -> str:
    claims = {"sub": "alice", "exp": NOW + 60}
    headers = {} if kid is None else {"kid": kid}
    return jwt.encode(claims, PRIVATE[algorithm], algorithm=algorithm, headers=headers)


class Source:
    """A file or address that can change, or be away."""

    def __init__(self, *entries: object) -> None:
        self.content: bytes | Exception = document(*entries)
        self.reads = 0

    async def read(self) -> bytes:
        self.reads += 1
        if isinstance(self.content, Exception):
            raise self.content
        return self.content


@pytest.mark.parametrize("algorithm", PRIVATE)
async def test_a_token_of_each_algorithm_is_taken_by_its_key_and_by_no_other(
    algorithm: str,
) -> None:
    keys = KeySet(Source(public(algorithm, "1")).read, 60, Dependency("the key set"))
    await keys.load()
    verifier = JwtVerifier([keys, Secrets(SECRET)], TokenRules())
    assert verifier.verify(signed_by(algorithm, "1"), NOW).user == "alice"
    assert verifier.verify(issue(user_id("bob"), SECRET, NOW), NOW).user == "bob"
    secret = (
        PRIVATE[algorithm]
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    confused = _by_hand({"alg": "HS256", "kid": "1"}, secret)  # the public key as a secret
    none = _by_hand({"alg": "none", "kid": "1"}, b"")
    others = [signed_by(other, "1") for other in PRIVATE if other != algorithm]
    for wrong in (signed_by(algorithm, "2"), signed_by(algorithm, None), confused, none, *others):
        with pytest.raises(BadToken):
            verifier.verify(wrong, NOW)


def _by_hand(header: dict[str, str], key: bytes) -> str:
    parts = [json.dumps(one).encode() for one in (header, {"sub": "alice", "exp": NOW + 60})]
    head, claims = (base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = hmac.digest(key, head + b"." + claims, "sha256") if key else b""
    return b".".join((head, claims, base64.urlsafe_b64encode(signature).rstrip(b"="))).decode()


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"{}",
        b"[]",
        b'{"keys":[]}',
        b'{"keys":[7]}',
        b'{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}',
        b'{"keys":[{"kty":"RSA","n":"AQ","e":"AQAB"}]}',
        b'{"keys":[{"kty":"OKP","crv":"Ed25519","x":"!"}]}',
        b"<html>",
    ],
)
async def test_a_wrong_or_unreachable_set_keeps_the_last_good_one_and_says_so(wrong: bytes) -> None:
    with pytest.raises(WrongKeySet):
        parse_key_set(wrong)
    source, health = Source(public("EdDSA", "1")), Dependency("the key set")
    keys = KeySet(source.read, 60, health)
    await keys.load()
    verifier = JwtVerifier([keys], TokenRules())
    for content in (wrong, OSError("away")):
        source.content = content
        await keys.reload()
        assert "the key set" in (health.problem() or "")
        assert verifier.verify(signed_by("EdDSA", "1"), NOW).user == "alice"
    source.content = document(public("EdDSA", "2"))
    await keys.reload()
    assert health.problem() is None
    with pytest.raises(BadToken):
        verifier.verify(signed_by("EdDSA", "1"), NOW)


async def test_a_key_that_is_taken_out_of_use_or_for_something_else_does_not_verify() -> None:
    for more in ({"use": "enc"}, {"alg": "RS512"}, {"d": "private"}):
        with pytest.raises(WrongKeySet):
            parse_key_set(document(public("RS256", "1", **more)))


@virtual_time
async def test_a_new_key_is_looked_for_when_a_token_names_it_and_both_count_meanwhile() -> None:
    source = Source(public("EdDSA", "old"))
    keys = KeySet(source.read, 60, Dependency("the key set"))
    await keys.load()
    running = asyncio.create_task(keys.run())
    verifier = JwtVerifier([keys], TokenRules())
    source.content = document(public("EdDSA", "old"), public("ES256", "new"))
    with pytest.raises(BadToken):
        verifier.verify(signed_by("ES256", "new"), NOW)
    await asyncio.sleep(11)
    for token in (signed_by("ES256", "new"), signed_by("EdDSA", "old")):
        assert verifier.verify(token, NOW).user == "alice"
    assert source.reads == 2
    await asyncio.sleep(120)
    assert source.reads == 4
    for _ in range(100):  # whoever makes key ids up makes nobody read more often
        with pytest.raises(BadToken):
            verifier.verify(signed_by("EdDSA", "made up"), NOW)
        await asyncio.sleep(0.1)
    assert source.reads <= 7
    running.cancel()
