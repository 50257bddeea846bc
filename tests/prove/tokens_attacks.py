"""Tokens that must never come in, each a good one with one thing wrong.

From RFC 8725 (JSON Web Token Best Current Practices), the advisories of the libraries, and what
PyJWT's defaults accept.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.issuers import (
    Issuer,
    Private,
    claims_of,
    encoded,
    jwk_of,
    pem_of,
    private_key,
    signed,
)

Attack = Callable[[Issuer, datetime], str]
YEARS = timedelta(days=36_500)


def _key(issuer: Issuer, algorithm: str = "RS256") -> tuple[str, Private]:
    key_id = f"{issuer.name}-{algorithm}"
    return key_id, issuer.keys[key_id][1]


def _claims(**changes: Any) -> Attack:
    """A token that the issuer really signed, with other claims."""
    return lambda issuer, at: issuer.token(at, **changes)


def _session(**changes: Any) -> Attack:
    """A session's token, with other claims."""
    return _claims(**{"aud": None, "sid": "sess_1", **changes})


def _later(**seconds: int) -> Attack:
    """A token with instants moved, in seconds from now."""

    def token(issuer: Issuer, at: datetime) -> str:
        now = int(at.timestamp())
        moved: dict[str, Any] = {name: now + more for name, more in seconds.items()}
        return issuer.token(at, **moved)

    return token


def _header(**changes: Any) -> Attack:
    """A token that the issuer really signed, with another header."""

    def token(issuer: Issuer, at: datetime) -> str:
        key_id, key = _key(issuer)
        return signed(claims_of(issuer.issuer, at), key, "RS256", key_id=key_id, header=changes)

    return token


def _unsigned(algorithm: str) -> Attack:
    def token(issuer: Issuer, at: datetime) -> str:
        header = {"alg": algorithm, "typ": "JWT", "kid": _key(issuer)[0]}
        return f"{encoded(header)}.{encoded(claims_of(issuer.issuer, at))}."

    return token


def _by_public_key(algorithm: str, digest: Any) -> Attack:
    """HMAC with the public key, which everybody has, as the secret."""

    def token(issuer: Issuer, at: datetime) -> str:
        key_id, key = _key(issuer)
        header = {"alg": algorithm, "typ": "JWT", "kid": key_id}
        text = f"{encoded(header)}.{encoded(claims_of(issuer.issuer, at))}"
        mac = hmac.new(pem_of(key).encode(), text.encode(), digest).digest()
        return f"{text}.{encoded(mac)}"

    return token


def _right_key_other_algorithm(algorithm: str) -> Attack:
    """What the issuer's own RSA key signs, but not as its key set says."""

    def token(issuer: Issuer, at: datetime) -> str:
        key_id, key = _key(issuer)
        return signed(claims_of(issuer.issuer, at), key, algorithm, key_id=key_id)

    return token


def _other_key(algorithm: str, header: Mapping[str, Any] | None = None) -> Attack:
    """An attacker's key, under the id of the issuer's."""

    def token(issuer: Issuer, at: datetime) -> str:
        claims, mine = claims_of(issuer.issuer, at), private_key(algorithm, "attacker")
        return signed(claims, mine, algorithm, key_id=_key(issuer, algorithm)[0], header=header)

    return token


def _curve(curve: ec.EllipticCurve, algorithm: str) -> Attack:
    def token(issuer: Issuer, at: datetime) -> str:
        mine = ec.generate_private_key(curve)
        return signed(
            claims_of(issuer.issuer, at), mine, algorithm, key_id=_key(issuer, "ES256")[0]
        )

    return token


def _embedded(issuer: Issuer, at: datetime) -> str:
    mine = private_key("RS256", "attacker")
    row = jwk_of(mine, "RS256", _key(issuer)[0])
    return _other_key("RS256", {"jwk": row})(issuer, at)


def _tampered(issuer: Issuer, at: datetime) -> str:
    header, _, signature = issuer.token(at).split(".")
    return f"{header}.{encoded(claims_of(issuer.issuer, at, sub='user-2'))}.{signature}"


def _swapped_header(issuer: Issuer, at: datetime) -> str:
    _, claims, signature = issuer.token(at).split(".")
    header = {"alg": "RS256", "typ": "JWT", "kid": _key(issuer)[0], "x": 1}
    return f"{encoded(header)}.{claims}.{signature}"


def _twice(issuer: Issuer, at: datetime) -> str:
    """Two subjects: some readers take the first, others the last."""
    raw = json.dumps(claims_of(issuer.issuer, at))[:-1] + ', "sub": "user-1"}'
    key_id, key = _key(issuer)
    return signed(raw.encode(), key, "RS256", key_id=key_id)


def _payload(raw: bytes) -> Attack:
    def token(issuer: Issuer, at: datetime) -> str:
        key_id, key = _key(issuer)
        return signed(raw, key, "RS256", key_id=key_id)

    return token


def _without_key_id(issuer: Issuer, at: datetime) -> str:
    return signed(claims_of(issuer.issuer, at), _key(issuer)[1], "RS256")


def _small_key(issuer: Issuer, at: datetime) -> str:
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    return signed(claims_of(issuer.issuer, at), small, "RS256", key_id=_key(issuer)[0])


def _text(change: Callable[[str], str]) -> Attack:
    """A good token whose text was changed."""
    return lambda issuer, at: change(issuer.token(at))


def _stripped(text: str) -> str:
    return text.rpartition(".")[0] + "."


def _padded(text: str) -> str:
    return text + "="


def _inserted(text: str) -> str:
    """Characters that a lenient decoder of base64 passes over."""
    return text[:-4] + "!!" + text[-4:]


def _nested(issuer: Issuer, at: datetime) -> str:
    deep: Any = 1
    for _ in range(400):
        deep = [deep]
    return issuer.token(at, deep=deep)


def _standard_alphabet(issuer: Issuer, at: datetime) -> str:
    header, claims, signature = issuer.token(at).split(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    return f"{header}.{claims}.{base64.b64encode(raw).decode()}"


ATTACKS: Mapping[str, Attack] = {
    # the signature
    "alg none": _unsigned("none"),
    "alg None": _unsigned("None"),
    "alg nOnE": _unsigned("nOnE"),
    "alg empty": _unsigned(""),
    "HS256 with the public key": _by_public_key("HS256", hashlib.sha256),
    "HS512 with the public key": _by_public_key("HS512", hashlib.sha512),
    "RS512 by the right key": _right_key_other_algorithm("RS512"),
    "RS384 by the right key": _right_key_other_algorithm("RS384"),
    "PS256 by the right key": _right_key_other_algorithm("PS256"),
    "another RSA key": _other_key("RS256"),
    "another EC key": _other_key("ES256"),
    "another Ed25519 key": _other_key("EdDSA"),
    "an EC key under the RSA key's id": lambda issuer, at: signed(
        claims_of(issuer.issuer, at), _key(issuer, "ES256")[1], "ES256", key_id=_key(issuer)[0]
    ),
    "another curve, ES384": _curve(ec.SECP384R1(), "ES384"),
    "another curve, ES256K": _curve(ec.SECP256K1(), "ES256K"),
    "a small key": _small_key,
    "signature stripped": _text(_stripped),
    "claims tampered with": _tampered,
    "header tampered with": _swapped_header,
    "says RS256, signed RS512": lambda issuer, at: signed(
        claims_of(issuer.issuer, at), _key(issuer)[1], "RS512",
        key_id=_key(issuer)[0], header={"alg": "RS256"},
    ),
    # the header
    "crit": _header(crit=["exp"]),
    "crit with b64 false": _header(crit=["b64"], b64=False),
    "embedded key": _embedded,
    "jku": _other_key("RS256", {"jku": "https://attacker.example/jwks"}),
    "jku by the right key": _header(jku="https://attacker.example/jwks"),
    "x5u": _other_key("RS256", {"x5u": "https://attacker.example/cert"}),
    "x5c": _other_key("RS256", {"x5c": ["MIIB"]}),
    "no key id": _without_key_id,
    "key id that walks": _header(kid="../../../../dev/null"),
    "key id with SQL": _header(kid="' OR 1=1 --"),
    "key id of another type": _header(kid={"$ne": 1}),
    "type of a logout token": _header(typ="logout+jwt"),
    "type of a DPoP proof": _header(typ="dpop+jwt"),
    "type of another thing": _header(typ=["JWT"]),
    # the form
    "two parts": _text(lambda text: text.rpartition(".")[0]),
    "four parts": _text(lambda text: f"{text}.{encoded(b'more')}"),
    "five parts (encrypted)": _text(lambda text: f"{text}.a.b"),
    "a megabyte": _text(lambda text: "A" * 1_000_000 + text),
    "padding": _text(_padded),
    "junk in the signature": _text(_inserted),
    "the other alphabet": _text(lambda text: text + "+/"),
    "claims that stand twice": _twice,
    "claims that are a list": _payload(b"[1]"),
    "claims that are no JSON": _payload(b"\xff\xfe{"),
    "claims with NaN": _payload(b'{"exp": NaN}'),
    "claims that nest deep": _nested,
    # time
    "no exp": _claims(exp=None),
    "no iat": _claims(iat=None),
    "no sub": _claims(sub=None),
    "no iss": _claims(iss=None),
    "exp past": _later(iat=-1200, nbf=-1200, exp=-6),
    "exp in a hundred years": _later(exp=int(YEARS.total_seconds())),
    "lives a day and a second": _later(exp=86_401),
    "exp as text": _claims(exp="9999999999"),
    "exp true": _claims(exp=True),
    "exp beyond numbers": _claims(exp=10**400),
    "exp null": lambda issuer, at: signed(
        {**claims_of(issuer.issuer, at), "exp": None}, _key(issuer)[1], "RS256",
        key_id=_key(issuer)[0],
    ),
    "iat future": _later(iat=60),
    "nbf future": _later(nbf=60),
    # whom it is for
    "another issuer": _claims(iss="https://attacker.example"),
    "issuer with a slash": _claims(iss="https://issuer.example/"),
    "issuer as a list": _claims(iss=["https://issuer.example"]),
    "another audience": _claims(aud="somebody-else"),
    "no audience": _claims(aud=None),
    "audience that begins so": _claims(aud="billing-staging"),
    "audience in an object": _claims(aud={"billing": 1}),
    "handed to another party": _claims(azp="https://evil.example"),
    "handed to nobody": _claims(azp=None),
    "an ID token by its nonce": _claims(nonce="n-0S6"),
    "an ID token by its hash": _claims(at_hash="77QmUPtjPfzWtF2AnpK9RQ"),
    "an ID token as Keycloak says": _claims(typ="ID"),
    "a refresh token as Keycloak says": _claims(typ="Refresh"),
    "an ID token as Cognito says": _claims(token_use="id"),
    "acting as somebody else": _claims(act={"sub": "admin"}),
    "subject empty": _claims(sub=""),
    "subject a number": _claims(sub=1),
    "subject with NUL": _claims(sub="user-1\x00"),
    "two organizations": _claims(org_id="org-1", o={"id": "org-2", "rol": "admin"}),
    "a role that nobody mapped": _claims(org_id="org-1", org_role="org:superuser"),
}  # fmt: skip
OWN_KEY = b"not the secret that is derived from ours"
# In our own name, beside the ones above: `story` has somebody signed in with the session `ses`.
OWN: Mapping[str, Callable[[Mapping[str, Any], Issuer], str]] = {
    "our name, unsigned": lambda said, _: f"{encoded({'alg': 'none'})}.{encoded(said)}.",
    "our name, another secret": lambda said, _: jwt.encode(dict(said), OWN_KEY, "HS256"),
    "our name, an empty secret": lambda said, _: hmac_of(said, b""),
    "our name, a trusted issuer's key": lambda said, issuer: signed(
        said, _key(issuer)[1], "RS256", key_id=_key(issuer)[0]
    ),
}


def hmac_of(claims: Mapping[str, Any], secret: bytes) -> str:
    """Return a token signed with HS256 and any secret, however short."""
    text = f"{encoded({'alg': 'HS256', 'typ': 'at+jwt'})}.{encoded(claims)}"
    return f"{text}.{encoded(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"


# Of a session's tokens, as Clerk makes them, beside the ones above.
OF_A_SESSION: Mapping[str, Attack] = {
    "no session": _session(sid=None),
    "a session that is not complete": _session(sts="pending"),
    "a session's token for somebody": _session(aud="somebody"),
}
