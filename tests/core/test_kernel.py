from __future__ import annotations

import gc
import re
from datetime import UTC, datetime
from uuid import RFC_4122, UUID

import pytest
import structlog
from django.conf import settings
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from apps.core import checks, clock, collector, idempotency, ids, processes, rls
from apps.core.actor import ALL, Actor, require
from apps.core.errors import Forbidden
from apps.core.idempotency import Answer, KeyReused
from apps.core.logging import HIDDEN, clean_text, drop_starts, redact
from apps.core.models import IdempotencyKey
from apps.tenants.models import Organization


def test_public_ids_sort_by_time() -> None:
    early = ids.new_id("inv", unix_ms=1_700_000_000_000)
    late = ids.new_id("inv", unix_ms=1_700_000_000_001)
    assert early < late


def test_a_public_id_is_a_uuid_of_version_7() -> None:
    for _ in range(1000):
        text = ids.new_id("inv", unix_ms=1_700_000_000_000).removeprefix("inv_")
        number = sum(ids.ALPHABET.index(one) << 5 * n for n, one in enumerate(reversed(text)))
        assert (UUID(int=number).version, UUID(int=number).variant) == (7, RFC_4122)
        assert number >> 80 == 1_700_000_000_000


def test_a_fork_draws_ids_of_its_own() -> None:
    ids.new_id("inv")  # and keeps the ends of others in stock
    with processes.pool(2) as pool:
        drawn = list(pool.map(_ends_of_ids, range(2)))
    assert len({*_ends_of_ids(0), *drawn[0], *drawn[1]}) == 30


def _ends_of_ids(_: int) -> list[str]:
    return [ids.new_id("inv")[-16:] for _ in range(10)]


def test_public_ids_have_their_form() -> None:
    made = {ids.new_id("inv") for _ in range(1000)}
    assert len(made) == 1000
    assert all(ids.is_public_id(one, "inv") and len(one) == 30 for one in made)
    assert not ids.is_public_id("inv_" + "u" * 26)
    assert not ids.is_public_id(ids.new_id("inv"), "org")


@given(st.integers(min_value=0, max_value=2**128 - 1))
def test_base32_keeps_every_bit(number: int) -> None:
    text = ids.base32(number)
    back = 0
    for character in text:
        back = back * 32 + ids.ALPHABET.index(character)
    assert back == number


def test_a_frozen_clock_stands_still() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    with clock.frozen(at):
        assert clock.now() == at
    assert clock.now() != at


def test_an_actor_of_another_organization_is_refused() -> None:
    stranger = Actor("user", "usr_x", "OWNER", 1, ALL)
    with pytest.raises(Forbidden):
        require("manage_billing", actor=stranger, organization_id=2)


@pytest.mark.parametrize(
    "secret",
    [
        "bk_live_0123456789abcdefghjkm",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "sk_test_4eC39HqLyjWDarjtT1zdp7dc",
        "jane.doe+bills@example.co.uk",
        "4242 4242 4242 4242",
        "DE89 3704 0044 0532 0130 00",
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
    ],
)
def test_secrets_and_people_do_not_reach_the_log(secret: str) -> None:
    assert secret not in clean_text(f"it was {secret}, they said")


def test_fields_are_hidden_by_their_names() -> None:
    event = redact(None, "", {"event": "login", "password": "x", "data": {"email": "y", "n": 1}})
    assert event == {"event": "login", "password": HIDDEN, "data": {"email": HIDDEN, "n": 1}}


def test_a_database_password_is_hidden_in_its_url() -> None:
    assert "hunter2" not in clean_text("postgresql://billing_app:hunter2@db/billing")


def answer_once(organization: Organization, body: bytes, log: list[int]) -> Answer:
    def act() -> Answer:
        log.append(1)
        return Answer(201, {"n": len(log)})

    with rls.tenant_scope(organization.pk):
        return idempotency.once(
            "k-1",
            organization_id=organization.pk,
            owner="key_x",
            route="POST /x",
            body=body,
            act=act,
        )


def test_the_same_request_gets_the_same_answer(organization: Organization) -> None:
    log: list[int] = []
    first = answer_once(organization, b"{}", log)
    again = answer_once(organization, b"{}", log)
    assert (first.status, first.body) == (again.status, again.body) == (201, {"n": 1})
    assert (first.replayed, again.replayed, len(log)) == (False, True, 1)


def test_another_body_under_the_same_key_is_refused(organization: Organization) -> None:
    log: list[int] = []
    answer_once(organization, b"{}", log)
    with pytest.raises(KeyReused):
        answer_once(organization, b"[]", log)
    assert len(log) == 1


def test_old_keys_are_forgotten(organization: Organization, ops: None) -> None:
    answer_once(organization, b"{}", [])
    later = clock.now() + idempotency.KEEP * 2
    with clock.frozen(later):
        assert idempotency.forget_old() == 1
    assert not IdempotencyKey.objects.exists()


@override_settings(PRODUCTION=True, DATABASE_IS_EMBEDDED=True, ALLOWED_HOSTS=["*"])
def test_production_refuses_development_defaults() -> None:
    found = {message.id for message in checks.production_settings()}
    assert found == {"core.E001", "core.E002", "core.E003", "core.E005", "core.E007"} | (
        {"core.E004"} if settings.EMAIL_BACKEND.endswith("console.EmailBackend") else set()
    )


def test_the_tests_run_as_a_login_that_policies_bind(db: None) -> None:
    assert checks.run_time_login(databases=["default"]) == []


def test_log_lines_of_requests_name_no_address() -> None:
    assert settings.DJANGO_STRUCTLOG_IP_LOGGING_ENABLED is False
    assert re.match(r"^[a-z_]+$", settings.DJANGO_STRUCTLOG_USER_ID_FIELD)


def test_a_request_is_one_line_in_the_log() -> None:
    with pytest.raises(structlog.DropEvent):
        drop_starts(None, "", {"event": "request_started"})
    assert drop_starts(None, "", {"event": "request_finished"}) == {"event": "request_finished"}


def test_the_collector_is_held_back_inside_only_however_it_ends() -> None:
    with pytest.raises(Forbidden), collector.held_back():
        with collector.held_back():
            assert not gc.isenabled()
        assert not gc.isenabled()
        raise Forbidden("Enough.")
    assert gc.isenabled()
