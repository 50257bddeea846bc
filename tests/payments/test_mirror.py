from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.test import override_settings
from djstripe import models as mirrored

from apps.core import clock, rls
from apps.payments import mirror, services
from apps.payments.models import ProviderEvent
from tests.payments.shop import Shop, open_shop
from tests.payments.test_inbox import Seen, deliver, following, handle
from tests.payments.there import provider

pytestmark = pytest.mark.django_db

APPS = Path(settings.BASE_DIR) / "apps"
REAL_KEY = "sk_test_this0is0the0real0one000000"


@pytest.fixture
def shop() -> Iterator[Shop]:
    with open_shop() as shop:
        yield shop


def mirror_everything(shop: Shop) -> None:
    shop.catalogue()
    shop.sale()
    services.backfill_events()
    services.handle_events()


def test_objects_of_every_kind_are_copied_without_a_fault(shop: Shop) -> None:
    with override_settings(STRIPE_SECRET_KEY=REAL_KEY):
        mirror_everything(shop)
    with rls.ops_scope("test: the copies"):
        assert not ProviderEvent.objects.exclude(state="done", error="").exists()
        copied = {kind for kind, model in mirror.MODELS.items() if model.objects.exists()}
        invoice = mirrored.Invoice.objects.get()
        keys = mirrored.APIKey.objects.values_list("secret", flat=True)
        assert REAL_KEY not in set(keys)
    assert copied == {
        "charge", "coupon", "customer", "invoice", "invoiceitem", "payment_intent",
        "payment_method", "price", "product", "promotion_code", "refund", "setup_intent",
        "tax_rate",
    }  # fmt: skip
    assert [line["amount"] for line in invoice.stripe_data["lines"]["data"]] == [40_00, 10_00]
    assert invoice.stripe_data["status"] == "paid"


def test_dj_stripe_never_speaks_to_the_provider_itself(shop: Shop) -> None:
    mirror_everything(shop)
    with rls.ops_scope("test: the copies"):
        customer = mirrored.Customer.objects.get()
        with pytest.raises(PermissionError):
            customer.api_retrieve()
        with pytest.raises(PermissionError):
            mirrored.Product._api_create(name="Behind our back")


def test_what_the_mirror_cannot_take_is_noted_and_stops_nobody() -> None:
    with provider() as there, following("invoiceitem", seen := Seen()):
        deliver(there.change("invoiceitem", "ii_1", at=clock.now()), at=clock.now())
        handle(clock.now())
    assert [one["id"] for one in seen] == ["ii_1"]
    with rls.ops_scope("test: the note"):
        row = ProviderEvent.objects.get()
        assert not mirrored.InvoiceItem.objects.exists()
    assert (row.state, row.error.partition(":")[0]) == ("done", "mirror")


def test_a_deleted_object_stays_and_says_so(shop: Shop) -> None:
    mirror_everything(shop)
    coupon = {"id": "", "object": "coupon", "deleted": True}
    with rls.ops_scope("test: delete"):
        coupon["id"] = mirrored.Coupon.objects.get().id
        assert mirror.keep(coupon, related={}) == ""
        assert mirrored.Coupon.objects.get().stripe_data["deleted"] is True
        assert mirrored.Coupon.objects.get().stripe_data["percent_off"] == 10


def test_nothing_reads_the_copies_but_the_mirror_and_its_pages() -> None:
    found = {
        path.relative_to(APPS).as_posix()
        for path in APPS.rglob("*.py")
        if "djstripe_migrations" not in path.parts
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("djstripe"))
        or (isinstance(node, ast.Import) and node.names[0].name.startswith("djstripe"))
        or (isinstance(node, ast.Constant) and str(node.value).startswith("djstripe_"))
    }
    assert found == {
        "backoffice/admin/mirror.py",  # their pages
        "backoffice/unfold.py",  # and the way there
        "payments/management/commands/squash_djstripe.py",
        "payments/mirror.py",
    }
