"""Keys of programs: rotated with an overlap, revoked at once, never more than who makes them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from apps.core.actor import Actor
from apps.core.errors import Conflict, DomainError, Forbidden, Invalid, NotFound
from apps.tenants import roles, selectors, services
from apps.tenants.models import ApiKey, Organization
from apps.tenants.services import NewKey
from tests.conftest import STAFF

AT = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def key(ops: None, organization: Organization) -> NewKey:
    return make(organization, "usage:write")


def make(organization: Organization, *scopes: str, expires_at: datetime | None = None) -> NewKey:
    return services.create_api_key(
        organization.pk,
        name="gateway",
        scopes=[*scopes],
        expires_at=expires_at,
        actor=STAFF,
        at=AT,
    )


def works(secret: str, at: datetime) -> bool:
    holder = selectors.key_holder(secret)
    return holder is not None and holder.is_good(at)


def rotate(made: NewKey, at: datetime = AT, **options: timedelta) -> NewKey:
    return services.rotate_api_key(made.row.public_id, actor=STAFF, at=at, **options)


def test_both_keys_work_until_the_old_one_expires(key: NewKey) -> None:
    new = rotate(key)
    assert (new.row.scopes, new.row.name) == (key.row.scopes, key.row.name)
    assert new.row.rotated_from_id == key.row.pk
    just_before = AT + DAY - timedelta(microseconds=1)
    assert [works(one.secret, just_before) for one in (key, new)] == [True, True]
    assert [works(one.secret, AT + DAY) for one in (key, new)] == [False, True]


def test_without_an_overlap_the_old_key_is_refused_at_once(key: NewKey) -> None:
    new = rotate(key, overlap=timedelta(0))
    assert [works(one.secret, AT) for one in (key, new)] == [False, True]


def test_a_key_that_ends_sooner_ends_then_and_its_heir_lives_as_long(
    ops: None, organization: Organization
) -> None:
    old = make(organization, "usage:read")
    ApiKey.objects.filter(pk=old.row.pk).update(created_at=AT, expires_at=AT + 30 * DAY)
    at = AT + 30 * DAY - timedelta(hours=1)
    new = rotate(old, at)
    old.row.refresh_from_db()
    assert old.row.expires_at == AT + 30 * DAY
    assert new.row.expires_at == at + 30 * DAY


@pytest.mark.parametrize("overlap", [timedelta(hours=-1), timedelta(days=7, seconds=1)])
def test_an_overlap_is_a_week_at_most(key: NewKey, overlap: timedelta) -> None:
    with pytest.raises(Invalid):
        rotate(key, overlap=overlap)
    assert ApiKey.objects.count() == 1


def test_a_key_that_works_no_longer_has_no_heir(key: NewKey) -> None:
    services.revoke_api_key(key.row.public_id, actor=STAFF, at=AT)
    with pytest.raises(Conflict):
        rotate(key)
    with pytest.raises(NotFound):
        services.rotate_api_key("key_0", actor=STAFF, at=AT)
    assert ApiKey.objects.count() == 1


def test_a_key_makes_none_that_may_more_than_itself(
    ops: None, organization: Organization, key: NewKey
) -> None:
    scopes = ["api_keys:write", "usage:read"]
    held = roles.capabilities_of_scopes(scopes, platform=False)
    program = Actor("api_key", "key_x", "ci", organization.pk, held)
    services.create_api_key(organization.pk, name="x", scopes=scopes, actor=program, at=AT)
    acts: list[Callable[[], NewKey]] = [
        lambda: services.create_api_key(
            organization.pk, name="x", scopes=["usage:write"], actor=program, at=AT
        ),
        lambda: services.rotate_api_key(key.row.public_id, actor=program, at=AT),
        lambda: services.create_api_key(None, name="x", scopes=scopes, actor=program, at=AT),
    ]
    before = ApiKey.objects.count()
    for act in acts:
        with pytest.raises(Forbidden):
            act()
    assert ApiKey.objects.count() == before


def test_a_key_tells_noise_by_its_checksum(key: NewKey) -> None:
    assert selectors.is_key(key.secret)
    for noise in ("", key.secret[:-1], key.secret + "0", key.secret.upper(), _changed(key.secret)):
        assert not selectors.is_key(noise)


def _changed(secret: str) -> str:
    return secret[:20] + ("0" if secret[20] != "0" else "1") + secret[21:]


def test_only_who_manages_keys_rotates_them(key: NewKey, organization: Organization) -> None:
    for role in ("BILLING_ADMIN", "ADMIN", "MEMBER"):
        actor = Actor("user", "usr_x", role, organization.pk, roles.capabilities_of(role))
        with pytest.raises(DomainError):
            services.rotate_api_key(key.row.public_id, actor=actor, at=AT)
