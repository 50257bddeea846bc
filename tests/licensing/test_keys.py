"""Keys: made, adopted, rotated and sealed; and what is good by which of them."""

from __future__ import annotations

import json

import jwt
import pytest
from django.conf import LazySettings
from django.db import ProgrammingError, transaction

from apps.core import crypto, rls
from apps.core.crypto import CannotOpen
from apps.core.errors import Conflict
from apps.licensing import selectors, services, signer
from apps.licensing.errors import UnusableKey
from apps.licensing.models import SigningKey
from apps.licensing.selectors import Standing
from apps.subscriptions.selectors import SubscriptionFacts
from apps.tenants.models import Organization
from tests.conftest import STAFF
from tests.licensing import world
from tests.licensing.world import DAY, NOW, fetch, issue, judge

OLD, NEW = "an-old-key-of-thirty-two-characters", "a-new-key-of-thirty-two-characters-"


def generate(algorithm: str = "RS256") -> SigningKey:
    with rls.ops_scope("test: generate"):
        return services.generate_signing_key(algorithm, actor=STAFF, at=NOW)


def test_the_first_licence_makes_the_first_key(
    organization: Organization, subscription: SubscriptionFacts
) -> None:
    assert world.keys() == []
    found = fetch(organization)
    [key] = world.keys()
    assert (key.kid, key.status, key.algorithm) == (found.kid, "signing", "RS256")
    assert "PRIVATE" not in key.sealed_private_pem
    assert crypto.opened(key.sealed_private_pem).startswith("-----BEGIN PRIVATE KEY-----")


def test_a_tenant_never_reads_a_private_key(
    organization: Organization, subscription: SubscriptionFacts
) -> None:
    fetch(organization)
    with (
        rls.tenant_scope(organization.pk),
        pytest.raises(ProgrammingError, match="permission denied"),
        transaction.atomic(),
    ):
        SigningKey.objects.count()


def test_old_licences_are_good_after_a_rotation_until_they_end(
    organization: Organization, subscription: SubscriptionFacts
) -> None:
    first = fetch(organization)
    fresh_key = world.rotate(at=NOW + DAY)
    assert fetch(organization, at=NOW + DAY).token == first.token
    fresh = fetch(organization, at=NOW + 4 * DAY)
    assert fresh.kid == fresh_key.kid
    for token in (first.token, fresh.token):
        assert judge(organization, token, at=NOW + 5 * DAY).standing == Standing.OK
    assert [one.kid for one in selectors.public_keys(NOW + 5 * DAY)] == [fresh.kid, first.kid]
    assert judge(organization, first.token, at=NOW + 10 * DAY).standing == Standing.UNKNOWN_KEY
    assert [one.kid for one in selectors.public_keys(NOW + 10 * DAY)] == [fresh.kid]


def test_a_key_is_published_before_its_turn(
    organization: Organization, subscription: SubscriptionFacts
) -> None:
    fetch(organization)
    coming = generate("EdDSA")
    assert coming.status == "next"
    assert [one.kid for one in selectors.public_keys(NOW)][1:] == [coming.kid]
    with pytest.raises(Conflict):
        generate()
    with pytest.raises(Conflict):
        world.rotate(algorithm="RS256")
    assert world.rotate().kid == coming.kid
    found = issue(organization)
    assert jwt.get_unverified_header(found.token)["alg"] == "EdDSA"
    assert judge(organization, found.token).standing == Standing.OK


def test_a_compromised_key_takes_everything_it_signed_with_it(
    organization: Organization, subscription: SubscriptionFacts
) -> None:
    first = fetch(organization)
    world.rotate(compromised=True)
    assert judge(organization, first.token).standing == Standing.UNKNOWN_KEY
    assert [one.kid for one in selectors.public_keys(NOW)] == [world.keys()[0].kid]
    fresh = fetch(organization)
    assert fresh.kid != first.kid
    with rls.ops_scope("test: list"):
        assert [jti for jti, _ in selectors.revocations(NOW)] == [first.public_id]


@pytest.mark.parametrize("algorithm", ["RS256", "EdDSA"])
def test_the_key_set_checks_what_was_signed(
    organization: Organization, subscription: SubscriptionFacts, algorithm: str
) -> None:
    generate(algorithm)
    found = fetch(organization)
    [published] = [one.jwk for one in selectors.public_keys(NOW)]
    assert not {"d", "p", "q"} & published.keys()
    assert (published["kid"], published["alg"], published["use"]) == (found.kid, algorithm, "sig")
    key = jwt.PyJWK.from_json(json.dumps(published))
    claims = jwt.decode(
        found.token, key, algorithms=[algorithm], options={"verify_exp": False, "verify_nbf": False}
    )
    assert claims["jti"] == found.public_id


def test_a_key_made_elsewhere_is_adopted_once(db: None) -> None:
    pair = signer.generate("EdDSA")
    with rls.ops_scope("test: adopt"):
        first = services.adopt_signing_key(
            pair.private_pem, public_pem=pair.public_pem, actor=STAFF, at=NOW
        )
        again = services.adopt_signing_key(pair.private_pem, actor=STAFF, at=NOW)
    assert (first.pk, first.kid) == (again.pk, pair.kid)
    assert first.public_pem == pair.public_pem


def test_the_key_of_the_environment_signs_first(
    organization: Organization, subscription: SubscriptionFacts, settings: LazySettings
) -> None:
    pair = signer.generate("EdDSA")
    settings.LICENSE_PRIVATE_KEY, settings.LICENSE_PUBLIC_KEY = pair.private_pem, pair.public_pem
    assert fetch(organization).kid == pair.kid


def test_what_is_no_pair_is_refused(db: None) -> None:
    pair, other = signer.generate("EdDSA"), signer.generate("EdDSA")
    wrong = [("", ""), ("no key", ""), (pair.public_pem, ""), (pair.private_pem, other.public_pem)]
    for private_pem, public_pem in wrong:
        with rls.ops_scope("test: adopt"), pytest.raises(UnusableKey):
            services.adopt_signing_key(private_pem, public_pem=public_pem, actor=STAFF, at=NOW)
    assert world.keys() == []


def test_a_new_encryption_key_seals_anew_and_the_old_one_may_go(
    organization: Organization, subscription: SubscriptionFacts, settings: LazySettings
) -> None:
    settings.ENCRYPTION_KEYS = [OLD]
    found = fetch(organization)
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    with rls.ops_scope("test: seal anew"):
        assert services.reseal_signing_keys(actor=STAFF, at=NOW) == 1
    settings.ENCRYPTION_KEYS = [NEW]
    assert issue(organization).kid == found.kid


def test_without_its_encryption_key_nothing_is_opened_and_nothing_changes(
    organization: Organization, subscription: SubscriptionFacts, settings: LazySettings
) -> None:
    settings.ENCRYPTION_KEYS = [OLD]
    fetch(organization)
    sealed = world.keys()[0].sealed_private_pem
    settings.ENCRYPTION_KEYS = [NEW]
    with rls.ops_scope("test: seal anew"), pytest.raises(CannotOpen):
        services.reseal_signing_keys(actor=STAFF, at=NOW)
    assert world.keys()[0].sealed_private_pem == sealed
    with rls.ops_scope("test: look"):
        assert selectors.keys_out_of_reach() == [world.keys()[0].kid]


def test_the_list_of_revoked_licences_is_signed_and_forgets_what_has_ended(
    organization: Organization, subscription: SubscriptionFacts
) -> None:
    kept, taken = fetch(organization, "kept"), fetch(organization, "taken")
    world.revoke(taken)
    [key] = selectors.public_keys(NOW)
    token = services.sign_revocations(NOW)
    assert jwt.get_unverified_header(token)["typ"] == "licence-revocations+jwt"
    said = signer.claims_of(token, algorithm=key.algorithm, public_pem=key.pem)
    revoked_at = int(NOW.timestamp())
    assert said["revoked"] == [{"jti": taken.public_id, "revokedAt": revoked_at}]
    assert kept.public_id not in json.dumps(said)
    later = services.sign_revocations(NOW + 11 * DAY)
    assert signer.claims_of(later, algorithm=key.algorithm, public_pem=key.pem)["revoked"] == []
    assert judge(organization, token).standing == Standing.MALFORMED  # a list is no licence


def _forged(token: str) -> list[tuple[str, Standing]]:
    """Tokens that are no licence of ours, with what is said of them."""
    head, body, signature = token.split(".")
    other = signer.generate("RS256")
    kid = jwt.get_unverified_header(token)["kid"]
    claims = jwt.decode(token, options={"verify_signature": False})
    typed = {"typ": "licence+jwt"}
    named = {"kid": kid, **typed}
    by_other = jwt.encode(claims, other.private_pem, "RS256", headers=named)
    by_nobody = jwt.encode(claims, None, "none", headers=named)  # type: ignore[arg-type] # an attack
    by_text = jwt.encode(claims, "x" * 32, "HS256", headers=named)
    unknown = jwt.encode(claims, other.private_pem, "RS256", headers={"kid": other.kid, **typed})
    untyped = jwt.encode(claims, other.private_pem, "RS256", headers={"kid": kid, "typ": "JWT"})
    more = jwt.encode({**claims, "plan": "enterprise"}, "x" * 32, "HS256").split(".")[1]
    return [
        ("", Standing.MALFORMED),
        ("a.b.c", Standing.MALFORMED),
        (token + "x" * 20_000, Standing.MALFORMED),
        (f"{head}.{body}", Standing.MALFORMED),
        (untyped, Standing.MALFORMED),
        (unknown, Standing.UNKNOWN_KEY),
        (by_other, Standing.BAD_SIGNATURE),
        (by_nobody, Standing.BAD_SIGNATURE),
        (by_text, Standing.BAD_SIGNATURE),
        (f"{head}.{body}.", Standing.BAD_SIGNATURE),
        (f"{head}.{more}.{signature}", Standing.BAD_SIGNATURE),
    ]


def test_what_we_did_not_sign_is_not_good(
    organization: Organization, subscription: SubscriptionFacts
) -> None:
    token = fetch(organization).token
    for forged, standing in _forged(token):
        seen = judge(organization, forged)
        assert (seen.valid, seen.standing, seen.license) == (False, standing, None), forged
    assert judge(organization, token).valid
