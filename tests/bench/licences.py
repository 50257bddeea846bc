"""`licence_issue`, `licence_check`: signing and checking, against the bare operations.

The typical way reads the key from its PEM each time, as the libraries' guides show it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from apps.core import crypto
from apps.licensing import signer
from countinghouse.licence import LicenceValidator
from tests.bench.timing import Result, rate, result

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
TURNS, TIMES = 100, 5  # short turns, so that what else the machine does falls on all alike
SECONDS = 1_773_144_000
CLAIMS: dict[str, Any] = {
    "iss": "https://billing.example.com",
    "sub": "org_01m7wpgc61fj78zffb1232w0pt",
    "aud": "plant-1",
    "jti": "lic_01m7wpgc61fj78zffb1232w0pt",
    "iat": SECONDS,
    "nbf": SECONDS - 300,
    "exp": SECONDS + 864_000,
    "customerId": "org_01m7wpgc61fj78zffb1232w0pt",
    "customerName": "Acme Corporation",
    "plan": "professional",
    "features": {"maxDevices": 50, "dataRetentionDays": 365, "canExportData": True},
    "limits": {"maxUsers": 10, "maxAlertRules": 100, "maxDashboards": 20},
    "subscription": {"status": "active", "currentPeriodEndsAt": "2026-04-01T00:00:00Z"},
    "issuedAt": SECONDS,
    "expiresAt": SECONDS + 604_800,
}
Work = Callable[[], object]


def measure() -> list[Result]:
    """Sign and check one licence again and again."""
    pair = signer.generate(signer.RS256)
    sealed = crypto.seal(pair.private_pem)

    def issue() -> str:
        return signer.sign(CLAIMS, kid=pair.kid, algorithm=signer.RS256, sealed=sealed)

    token = issue()
    return [_issuing(pair, issue, token), _checking(pair, token)]


def _issuing(pair: signer.KeyPair, issue: Callable[[], str], token: str) -> Result:
    key = load_pem_private_key(pair.private_pem.encode(), password=None)
    assert isinstance(key, RSAPrivateKey)
    message = token.rpartition(".")[0].encode()
    return _in_turns(
        "licence_issue",
        issue,
        lambda: key.sign(message, PKCS1v15(), SHA256()),
        lambda: jwt.encode(CLAIMS, pair.private_pem, algorithm=signer.RS256),
        slowly=1,
    )


def _checking(pair: signer.KeyPair, token: str) -> Result:
    public = load_pem_public_key(pair.public_pem.encode())
    assert isinstance(public, RSAPublicKey)
    validator = LicenceValidator.from_pem(
        pair.public_pem, instance="plant-1", clock=lambda: float(SECONDS)
    )
    timeless: Any = {"verify_exp": False, "verify_aud": False}

    def library(key: Any) -> object:
        return jwt.decode(token, key, algorithms=[signer.RS256], options=timeless)

    return _in_turns(
        "licence_check",
        lambda: validator.validate(token),
        lambda: library(public),
        lambda: library(pair.public_pem),
    )


def _in_turns(name: str, ours: Work, limit: Work, typical: Work, *, slowly: int = TIMES) -> Result:
    """Measure the three in turns; the typical way is taken `slowly` times a turn."""
    rates: tuple[list[float], list[float], list[float]] = ([], [], [])
    for _ in range(ROUNDS * TURNS):
        for work, count, found in zip(
            (ours, limit, typical), (TIMES, TIMES, slowly), rates, strict=True
        ):
            work()  # whoever went before has left the caches full of other things
            found.append(rate(count, lambda: _often(work, count)))  # noqa: B023 - called at once
    return result(name, "licences/s", *rates)


def _often(work: Work, count: int) -> None:
    for _ in range(count):
        work()
