"""Licences are good to an implementation that shares nothing with ours: `jose` of npm."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from apps.core import crypto, rls
from apps.licensing import selectors, services, signer
from apps.licensing.selectors import LicenseFacts
from apps.subscriptions.selectors import SubscriptionFacts
from apps.tenants.models import Organization
from tests.conftest import STAFF
from tests.licensing import world
from tests.licensing.world import DAY, NOW, fetch, issue

# Needs Node.js and npm, which .ci/run installs.
pytestmark = pytest.mark.upstream
HERE = Path(__file__).parent / "jose"
INSTALL = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")


@pytest.fixture(scope="module")
def jose(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the script and the package that it uses, at the version locked here."""
    place = shutil.copytree(HERE, tmp_path_factory.mktemp("node") / "jose")
    subprocess.run(INSTALL, cwd=place, check=True, capture_output=True, timeout=300)
    return Path(place)


def judged(jose: Path, *questions: dict[str, Any], at: datetime = NOW) -> list[dict[str, Any]]:
    """Have tokens judged by the key set that is published at the time, and by its first key."""
    keys = selectors.public_keys(at)
    asked = {
        "keys": {"keys": [one.jwk for one in keys]},
        "pem": keys[0].pem,
        "algorithm": keys[0].algorithm,
        "questions": list(questions),
    }
    done = subprocess.run(
        ["node", "check.mjs"],
        cwd=jose,
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def ask(token: str, at: datetime = NOW, **more: str) -> dict[str, Any]:
    return {"token": token, "type": signer.LICENSE_TYPE, "at": at.timestamp(), **more}


def generate(algorithm: str) -> None:
    with rls.ops_scope("test: generate"):
        services.generate_signing_key(algorithm, actor=STAFF, at=NOW)


def forged(found: LicenseFacts) -> str:
    """The licence with a better plan, and the signature it had."""
    head, _, signature = found.token.split(".")
    better = signer.sign(
        {**found.claims, "plan": "enterprise"},
        kid=found.kid,
        algorithm="EdDSA",
        sealed=_another_key(),
    )
    return f"{head}.{better.split('.')[1]}.{signature}"


def _another_key() -> str:
    return crypto.seal(signer.generate("EdDSA").private_pem)


@pytest.mark.parametrize("algorithm", ["RS256", "EdDSA"])
def test_jose_takes_what_we_sign_and_nothing_else(
    organization: Organization, subscription: SubscriptionFacts, jose: Path, algorithm: str
) -> None:
    generate(algorithm)
    anybodys, plants = fetch(organization), fetch(organization, "plant-1")
    grace, over = NOW + 8 * DAY, NOW + 10 * DAY
    seen = judged(
        jose,
        ask(anybodys.token),
        ask(anybodys.token, by="pem"),
        ask(plants.token, audience="plant-1"),
        ask(anybodys.token, at=grace),
        ask(anybodys.token, at=over),
        ask(plants.token, audience="plant-2"),
        ask(forged(anybodys)),
    )
    assert [one.get("claims") for one in seen[:4]] == [
        anybodys.claims,
        anybodys.claims,
        plants.claims,
        anybodys.claims,
    ]
    assert [(one["refused"], one["claim"]) for one in seen[4:]] == [
        ("ERR_JWT_EXPIRED", "exp"),
        ("ERR_JWT_CLAIM_VALIDATION_FAILED", "aud"),
        ("ERR_JWS_SIGNATURE_VERIFICATION_FAILED", None),
    ]


def test_jose_takes_old_licences_after_a_rotation_until_they_end(
    organization: Organization, subscription: SubscriptionFacts, jose: Path
) -> None:
    old = fetch(organization)
    world.rotate(algorithm="EdDSA", at=NOW + DAY)
    fresh = issue(organization, at=NOW + DAY)
    later = NOW + 9 * DAY
    assert [one.get("claims") for one in judged(
        jose, ask(old.token, at=later), ask(fresh.token, at=later), at=later
    )] == [old.claims, fresh.claims]  # fmt: skip
    gone = NOW + 10 * DAY
    [refused] = judged(jose, ask(old.token, at=later), at=gone)
    assert refused["refused"] == "ERR_JWKS_NO_MATCHING_KEY"


def test_jose_reads_the_list_of_revoked_licences(
    organization: Organization, subscription: SubscriptionFacts, jose: Path
) -> None:
    found = fetch(organization)
    world.revoke(found)
    listed = ask(services.sign_revocations(NOW))
    [seen] = judged(jose, {**listed, "type": signer.REVOCATIONS_TYPE})
    assert [one["jti"] for one in seen["claims"]["revoked"]] == [found.public_id]
    [as_licence] = judged(jose, listed)
    assert as_licence["claim"] == "typ"
