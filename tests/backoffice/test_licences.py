"""Staff see licences and installations, revoke and block them, and rotate keys."""

from __future__ import annotations

import pytest
from django.test import Client

from apps.core import rls
from apps.licensing import services
from apps.licensing.models import Instance, License, LicenseTerms, SigningKey
from apps.tenants.models import Organization
from tests.backoffice.pages import acts, again, page, post, rows, text, url
from tests.conftest import STAFF
from tests.worlds import NOW, World


@pytest.fixture
def licence(world: World) -> License:
    with rls.ops_scope("test"):
        made = services.issue_license(world.id, instance="plant-1", actor=STAFF, at=NOW)
        return License.objects.get(public_id=made.public_id)


def test_the_page_shows_what_was_signed(support: Client, licence: License) -> None:
    shown = text(support.get(page(licence)))
    for words in ("maxDevices", "plant-1", licence.key_id, "valid"):
        assert words in shown
    assert "plant-1" in text(support.get(url(Instance)))
    key = text(support.get(page(rows(SigningKey)[0])))
    assert "BEGIN PUBLIC KEY" in key
    assert "PRIVATE" not in key


def test_a_licence_is_revoked_with_a_reason(
    finance: Client, support: Client, licence: License
) -> None:
    assert post(support, page(licence, "revoke"), because="no").status_code == 403
    assert post(finance, page(licence, "revoke"), because="").status_code == 400
    assert again(licence).revoked_at is None
    assert post(finance, page(licence, "revoke"), because="stolen").status_code == 302
    assert again(licence).revoked_because == "stolen"
    assert finance.get(page(licence, "revoke")).status_code == 409
    assert ("license.revoked", licence.public_id) in {one[1:] for one in acts()}


def test_an_instance_is_blocked_and_let_in_again(finance: Client, licence: License) -> None:
    [instance] = rows(Instance)
    assert post(finance, page(instance, "block")).status_code == 302
    assert (again(instance).blocked_at, again(licence).revoked_at) == (NOW, NOW)
    assert post(finance, page(instance, "unblock")).status_code == 302
    assert again(instance).blocked_at is None


def test_keys_are_made_and_rotated_by_admins(
    admin: Client, finance: Client, licence: License
) -> None:
    assert post(finance, url(SigningKey, "rotate")).status_code == 403
    assert post(admin, url(SigningKey, "generate"), algorithm="EdDSA").status_code == 302
    again_next = post(admin, url(SigningKey, "generate"), algorithm="EdDSA")
    assert again_next.status_code == 409
    assert post(admin, url(SigningKey, "rotate")).status_code == 302
    assert {(row.algorithm, row.status) for row in rows(SigningKey)} == {
        ("EdDSA", "signing"),
        ("RS256", "retired"),
    }


def test_a_year_is_agreed_with_one_organization(admin: Client, world: World) -> None:
    said = {"lifetime_days": "366", "grace_days": "30", "bound": "on"}
    organization = Organization(pk=world.id)
    assert post(admin, page(organization, "licence_terms"), **said).status_code == 302
    [terms] = rows(LicenseTerms)
    assert (terms.lifetime_days, terms.grace_days, terms.bound) == (366, 30, True)
