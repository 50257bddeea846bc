"""Asking the register: over a real socket, and without ever being stopped by it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.exceptions import ImproperlyConfigured
from django.db import connection

from apps.audit import selectors as audit
from apps.core import rls
from apps.tenants import selectors, services
from apps.tenants.gateway import Register
from apps.tenants.models import Organization
from apps.tenants.vat import TaxNumber
from tests.conftest import AT, STAFF, make_organization
from tests.tenants.register import FakeRegister, running

NUMBER = TaxNumber("EL", "094259216")
GOOD = "DE136695976"
Status = Organization.TaxIdStatus


@pytest.fixture
def fake() -> Iterator[FakeRegister]:
    with running() as found:
        yield found


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({"isValid": True, "userError": "VALID"}, Status.VERIFIED),
        ({"isValid": False, "userError": "INVALID"}, Status.INVALID),
        ({"isValid": False, "userError": "INVALID_INPUT"}, Status.INVALID),
        ({"isValid": False, "userError": "MS_UNAVAILABLE"}, Status.UNREACHABLE),
        ({"isValid": False, "userError": "MS_MAX_CONCURRENT_REQ"}, Status.UNREACHABLE),
        ({"isValid": False}, Status.UNREACHABLE),
        ({"isValid": "true"}, Status.UNREACHABLE),
        ({}, Status.UNREACHABLE),
    ],
)
def test_only_what_is_about_the_number_counts_against_it(
    fake: FakeRegister, answer: dict[str, Any], status: str
) -> None:
    fake.says(**answer)
    assert Register(fake.url).ask(NUMBER) == status
    assert fake.asked == ["/rest-api/ms/EL/vat/094259216"]


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
def test_a_failing_register_is_unreachable(fake: FakeRegister, status: int) -> None:
    fake.status = status
    assert Register(fake.url).ask(NUMBER) == Status.UNREACHABLE


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b"\xff\xfe", b'{"isValid": tr'])
def test_nonsense_is_unreachable(fake: FakeRegister, body: bytes) -> None:
    fake.body = body
    assert Register(fake.url).ask(NUMBER) == Status.UNREACHABLE


def test_a_slow_register_is_given_up(fake: FakeRegister) -> None:
    fake.delay = threading.Event()
    assert Register(fake.url, timeout=0.1).ask(NUMBER) == Status.UNREACHABLE


def test_nobody_at_the_address_is_unreachable() -> None:
    assert Register("http://127.0.0.1:1").ask(NUMBER) == Status.UNREACHABLE


def test_an_address_that_is_no_web_address_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured):
        Register("file:///etc")


def test_a_register_is_never_asked_inside_a_transaction(db: None) -> None:
    with pytest.raises(RuntimeError, match="outside transactions"):
        services.verify_tax_ids(actor=STAFF, at=AT)


def _german(slug: str = "acme", tax_id: str = GOOD) -> Organization:
    row = make_organization(slug, country="DE")
    with rls.tenant_scope(row.pk):
        return services.update_organization(row.pk, changes={"tax_id": tax_id}, actor=STAFF, at=AT)


def test_while_the_register_is_off_the_form_decides_alone(committed_db: str) -> None:
    row = _german()
    assert services.verify_tax_ids(actor=STAFF, at=AT).by_status == {}
    assert services.verify_tax_id(row.pk, actor=STAFF, at=AT).tax_id_status == Status.VALID_FORMAT


def test_the_worker_asks_once_and_asks_again_only_where_nobody_answered(
    committed_db: str, fake: FakeRegister, settings: LazySettings
) -> None:
    settings.VIES_URL = fake.url
    row = _german()
    _german("typo", "DE136695978")
    make_organization("nobody", country="DE")
    fake.says(isValid=False, userError="SERVICE_UNAVAILABLE")
    assert services.verify_tax_ids(actor=STAFF, at=AT).by_status == {"unreachable": 1}
    assert services.verify_tax_ids(actor=STAFF, at=AT).by_status == {}
    fake.says(isValid=True, userError="VALID")
    later = AT + timedelta(hours=1)
    assert services.verify_tax_ids(actor=STAFF, at=later).by_status == {"verified": 1}
    assert services.verify_tax_ids(actor=STAFF, at=later).by_status == {}
    assert len(fake.asked) == 2
    with rls.tenant_scope(row.pk):
        found = selectors.organization(row.pk)
        last = audit.latest(row.pk)[0]
    assert (found.tax_id_status, found.tax_id_checked_at) == (Status.VERIFIED, later)
    assert (last.before, last.after) == ({"status": "unreachable"}, {"status": "verified"})


def test_an_answer_about_an_id_that_was_replaced_is_dropped(
    committed_db: str, fake: FakeRegister, settings: LazySettings
) -> None:
    settings.VIES_URL = fake.url
    fake.delay = threading.Event()
    row = _german()
    found: list[Any] = []
    worker = threading.Thread(target=_work, args=(found,))
    worker.start()
    try:
        while not fake.asked:
            fake.delay.wait(0.01)
        with rls.tenant_scope(row.pk):
            services.update_organization(
                row.pk, changes={"tax_id": "DE129273398"}, actor=STAFF, at=AT
            )
    finally:
        fake.delay.set()
        worker.join()
    with rls.tenant_scope(row.pk):
        kept = selectors.organization(row.pk)
    assert (kept.tax_id, kept.tax_id_status) == ("DE129273398", Status.VALID_FORMAT)
    assert found == [{"unchecked": 1}]


def _work(found: list[Any]) -> None:
    try:
        found.append(services.verify_tax_ids(actor=STAFF, at=AT).by_status)
    finally:
        connection.close()
