"""Licences checked by the SDK alone: no network, the files at hand, and a clock that moves."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest

from apps.licensing import selectors, services, signer
from apps.subscriptions.selectors import SubscriptionFacts
from apps.tenants.models import Organization
from countinghouse.errors import (
    BadSignature,
    ConnectionFailed,
    LicenceError,
    LicenceExpired,
    LicenceNotYetValid,
    LicenceRevoked,
    MalformedLicence,
    RevocationsOutdated,
    UnknownKey,
    WrongInstance,
)
from countinghouse.licence import KEYS, REVOCATIONS, LicenceValidator
from tests.licensing import world
from tests.licensing.world import DAY, NOW, fetch, issue


class Clock:
    """What time it is at the installation."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now.timestamp()


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection: an installation has none."""

    def refuse(*_: object) -> None:
        raise OSError("there is no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def subscription(db: None, organization: Organization) -> SubscriptionFacts:
    """The plan `professional`, since 1 March."""
    world.load()
    return world.subscribe(organization)


def carry(place: Path, at: datetime = NOW) -> Path:
    """Put the platform's two files there, as somebody with a stick would."""
    keys = {"keys": [one.jwk for one in selectors.public_keys(at)]}
    (place / KEYS).write_text(json.dumps(keys))
    (place / REVOCATIONS).write_text(services.sign_revocations(at))
    return place


def at_home(place: Path, clock: Clock, **options: Any) -> LicenceValidator:
    return LicenceValidator.cached(place, clock=clock, **options)


def test_a_licence_says_what_is_granted(
    organization: Organization, subscription: SubscriptionFacts, tmp_path: Path
) -> None:
    token = fetch(organization).token
    found = at_home(carry(tmp_path), Clock()).validate(f" {token}\n")
    assert (found.plan, found.customer, found.status) == (
        "professional",
        organization.public_id,
        "active",
    )
    assert (found.feature("maxDevices"), found.feature("canExportData")) == (50, True)
    assert (found.feature("none"), found.limit("maxUsers"), found.limit("none")) == (False, 10, 0)
    assert found.allows("maxDevices", 50)
    assert not found.allows("maxDevices", 51)
    assert found.allows("canExportData")
    assert not found.allows("hasCustomBranding")
    assert not found.in_grace


def test_without_a_limit_everything_is_allowed(
    organization: Organization, subscription: SubscriptionFacts, tmp_path: Path
) -> None:
    world.override(subscription, "max_users", None)
    token = fetch(organization).token
    found = at_home(carry(tmp_path), Clock()).validate(token)
    assert (found.limit("maxUsers"), found.allows("maxUsers", 10**9)) == (None, True)


def test_a_clock_that_moves_goes_from_good_to_grace_to_expired(
    organization: Organization, subscription: SubscriptionFacts, tmp_path: Path
) -> None:
    token, clock = fetch(organization).token, Clock()
    validator = at_home(carry(tmp_path), clock)
    clock.now = NOW + 7 * DAY
    assert not validator.validate(token).in_grace  # within what clocks may differ
    clock.now = NOW + 7 * DAY + timedelta(minutes=1)
    assert validator.validate(token).in_grace
    clock.now = NOW + 10 * DAY
    assert validator.validate(token).in_grace
    clock.now = NOW + 10 * DAY + timedelta(minutes=1)
    with pytest.raises(LicenceExpired):
        validator.validate(token)
    clock.now = NOW - timedelta(minutes=6)
    assert validator.validate(token)
    clock.now = NOW - timedelta(minutes=7)
    with pytest.raises(LicenceNotYetValid):
        validator.validate(token)


def test_a_revoked_licence_is_refused_once_the_list_is_carried_over(
    organization: Organization, subscription: SubscriptionFacts, tmp_path: Path
) -> None:
    found = fetch(organization)
    assert at_home(carry(tmp_path), Clock()).validate(found.token)
    world.revoke(found)
    assert at_home(tmp_path, Clock()).validate(found.token)  # nobody has told it
    validator = at_home(carry(tmp_path), Clock())
    with pytest.raises(LicenceRevoked):
        validator.validate(found.token)
    assert validator.validate(fetch(organization).token)


def test_a_list_that_nobody_renewed_is_refused_where_a_fresh_one_is_wanted(
    organization: Organization, subscription: SubscriptionFacts, tmp_path: Path
) -> None:
    token, clock = fetch(organization).token, Clock(NOW + 8 * DAY)
    assert at_home(carry(tmp_path), clock).validate(token)
    strict = at_home(tmp_path, clock, fresh_revocations=True)
    with pytest.raises(RevocationsOutdated):
        strict.validate(token)
    assert at_home(carry(tmp_path, NOW + 8 * DAY), clock, fresh_revocations=True).validate(token)


def test_a_licence_of_another_instance_is_refused(
    organization: Organization, subscription: SubscriptionFacts, tmp_path: Path
) -> None:
    plant, anybodys = fetch(organization, "plant-1").token, fetch(organization).token
    carry(tmp_path)
    mine = at_home(tmp_path, Clock(), instance="plant-1")
    assert mine.validate(plant)
    assert mine.validate(anybodys)
    for validator in (at_home(tmp_path, Clock(), instance="plant-2"), at_home(tmp_path, Clock())):
        with pytest.raises(WrongInstance):
            validator.validate(plant)
    with pytest.raises(WrongInstance):
        at_home(tmp_path, Clock(), instance="plant-1", bound=True).validate(anybodys)


def test_old_licences_are_good_after_a_rotation_and_new_ones_need_the_new_key(
    organization: Organization, subscription: SubscriptionFacts, tmp_path: Path
) -> None:
    old = fetch(organization).token
    stays = at_home(carry(tmp_path), Clock())
    world.rotate(algorithm="EdDSA")
    fresh = issue(organization).token
    assert stays.validate(old)
    with pytest.raises(UnknownKey):
        stays.validate(fresh)
    refreshed = at_home(carry(tmp_path), Clock())
    assert refreshed.validate(old)
    assert refreshed.validate(fresh)


@pytest.mark.parametrize("algorithm", ["RS256", "EdDSA"])
def test_a_pinned_key_is_enough(
    organization: Organization, subscription: SubscriptionFacts, algorithm: str
) -> None:
    world.rotate(algorithm=algorithm)
    token = fetch(organization).token
    pem = "".join(one.pem for one in selectors.public_keys(NOW))
    assert LicenceValidator.from_pem(pem, clock=Clock()).validate(token)
    jwks = json.dumps({"keys": [one.jwk for one in selectors.public_keys(NOW)]})
    assert LicenceValidator.from_jwks(jwks, clock=Clock()).validate(token)
    other = signer.generate(algorithm).public_pem
    with pytest.raises(BadSignature):
        LicenceValidator.from_pem(other, clock=Clock()).validate(token)
    with pytest.raises(ValueError, match="no public key"):
        LicenceValidator.from_pem("nothing")


def test_another_platforms_licence_is_refused(
    organization: Organization, subscription: SubscriptionFacts, tmp_path: Path
) -> None:
    token = fetch(organization).token
    carry(tmp_path)
    assert at_home(tmp_path, Clock(), issuer="http://localhost:8000").validate(token)
    with pytest.raises(UnknownKey):
        at_home(tmp_path, Clock(), issuer="https://elsewhere.example").validate(token)


def _forgeries(token: str, pem: str, listed: str) -> Iterator[tuple[str, type[LicenceError]]]:
    head, body, signature = token.split(".")
    claims = jwt.decode(token, options={"verify_signature": False})
    header = {"kid": jwt.get_unverified_header(token)["kid"], "typ": "licence+jwt"}
    better = {**claims, "plan": "enterprise"}
    other = signer.generate("RS256").private_pem
    yield "", MalformedLicence
    yield "a.b.c", MalformedLicence
    yield listed, MalformedLicence  # signed by the key, and no licence
    yield jwt.encode(better, other, "RS256", headers={**header, "typ": "JWT"}), MalformedLicence
    yield jwt.encode(better, other, "RS256", headers=header), BadSignature
    yield jwt.encode(better, None, "none", headers=header), BadSignature  # type: ignore[arg-type] # an attack
    yield f"{head}.{body}.", BadSignature
    yield f"{head}.{body}.{signature[:-4]}AAAA", BadSignature
    # The public key as a shared secret: PyJWT itself refuses to sign so; an attacker would not.
    secret = jwt.encode(better, "x" * 32, "HS256", headers=header)
    yield secret, BadSignature
    yield jwt.encode(better, other, "RS256", headers={**header, "kid": "unknown"}), UnknownKey


def test_what_the_platform_did_not_sign_is_refused(
    organization: Organization, subscription: SubscriptionFacts, tmp_path: Path
) -> None:
    token = fetch(organization).token
    validator = at_home(carry(tmp_path), Clock())
    pem, listed = selectors.public_keys(NOW)[0].pem, services.sign_revocations(NOW)
    for forged, expected in _forgeries(token, pem, listed):
        with pytest.raises(LicenceError) as refused:
            validator.validate(forged)
        assert type(refused.value) is expected, forged
    assert validator.validate(token)


def test_a_directory_that_holds_nothing_yet_knows_no_key(
    organization: Organization, subscription: SubscriptionFacts, tmp_path: Path
) -> None:
    validator = at_home(tmp_path / "later", Clock(), base_url="http://127.0.0.1:9")
    with pytest.raises(UnknownKey):
        validator.validate(fetch(organization).token)
    with pytest.raises(ConnectionFailed):
        validator.refresh()
    with pytest.raises(ValueError, match="base_url"):
        LicenceValidator([]).refresh()
