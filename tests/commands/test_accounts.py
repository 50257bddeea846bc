"""What operators do for accounts: factors that were lost, and keys that seal them."""

from __future__ import annotations

import pytest
from django.conf import LazySettings
from django.core import mail

from apps.core import clock, rls
from apps.tenants import securing, services
from apps.tenants.errors import WrongCode
from apps.tenants.models import User
from tests.commands.shell import run
from tests.conftest import STAFF
from tests.portal import people
from tests.worlds import NOW

pytestmark = pytest.mark.django_db(databases=["default", "owner"])
OLD, NEW = "an-old-key-of-thirty-two-characters", "a-new-key-of-thirty-two-characters-"


@pytest.fixture
def ann(db: None) -> User:
    """Somebody with an account."""
    people.forget_attempts()
    with rls.ops_scope("test: ann"):
        return services.create_user(
            "ann@acme.example", password="correct horse battery", actor=STAFF, at=NOW
        )


def test_factors_that_were_lost_are_removed_and_their_owner_is_told(ann: User) -> None:
    people.with_app(ann, NOW)
    found = run("remove_second_factors", "Ann@acme.example", "--format", "json")
    assert found.json == {"id": ann.public_id, "email": "ann@acme.example", "removed": 1}
    with rls.ops_scope("test: nothing is left"):
        assert securing.security(ann.pk).recovery_codes_left == 0
    told = people.mails()
    assert any("All second factors were removed" in text for text in told)
    assert {one.to[0] for one in mail.outbox} == {"ann@acme.example"}


def test_nobody_is_helped_who_has_no_account(ann: User) -> None:
    assert "There is no account for" in run("remove_second_factors", "x@acme.example").err


def test_codes_count_after_the_sealing_key_has_changed(ann: User, settings: LazySettings) -> None:
    settings.ENCRYPTION_KEYS = [OLD]
    secret, codes = people.with_app(ann, NOW)
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    assert run("rotate_encryption_keys", "--format", "json").json["second_factors"] == 2
    settings.ENCRYPTION_KEYS = [NEW]
    later = NOW.replace(minute=30)
    with clock.frozen(later), rls.ops_scope("test: codes"):
        services.use_code(ann, code=people.code_at(secret), at=later)
        services.use_code(ann, code=codes[0], at=later)
        with pytest.raises(WrongCode):
            services.use_code(ann, code=codes[0], at=later)


def test_the_doctor_warns_of_staff_who_come_in_by_a_password_alone(settings: LazySettings) -> None:
    settings.PRODUCTION, settings.STAFF_SECOND_FACTOR = True, False
    rows = run("doctor", "--format", "json").json["checks"]
    assert ("settings", "warn") in {(row["check"], row["state"]) for row in rows}
    settings.STAFF_SECOND_FACTOR = True
    rows = run("doctor", "--format", "json").json["checks"]
    assert ("settings", "warn") not in {(row["check"], row["state"]) for row in rows}
