"""Visits to the provider's pages: what is saved and paid there, and how a visit ends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from apps.core import rls
from apps.core.actor import Actor
from apps.core.errors import Forbidden, NotFound
from apps.payments import selectors, services
from apps.payments.errors import AttemptUnderWay
from apps.payments.models import CheckoutSession
from apps.sandbox.resources import checkout
from apps.sandbox.resources.checkout import Payer
from apps.tenants import roles
from tests.conftest import STAFF, make_organization
from tests.payments.tills import NOW, Till, till

pytestmark = pytest.mark.django_db
GOOD = "4242424242424242"


@pytest.fixture
def shop() -> Iterator[Till]:
    with till() as opened:
        yield opened


def begin(shop: Till, actor: Actor = STAFF) -> CheckoutSession:
    with rls.tenant_scope(shop.organization.pk):
        return services.begin_setup(
            shop.organization.pk, back="/portal/payment/", actor=actor, at=NOW
        )


def begin_to_pay(shop: Till) -> CheckoutSession:
    with rls.tenant_scope(shop.organization.pk):
        return services.begin_payment("CH-000001", back="/portal/", actor=STAFF, at=NOW)


def opened(shop: Till, session: CheckoutSession) -> CheckoutSession:
    services.open_checkout(session.public_id, organization_id=shop.organization.pk)
    return again(shop, session)


def again(shop: Till, session: CheckoutSession) -> CheckoutSession:
    with rls.tenant_scope(shop.organization.pk):
        return CheckoutSession.objects.get(pk=session.pk)


def submit(shop: Till, session: CheckoutSession, number: str = GOOD) -> None:
    """Do what the customer does on the provider's page."""
    payer = Payer(number=number, email="ada@example.com", name="Ada")
    shop.sandbox.act(lambda world: checkout.submit(world, session.provider_id, payer))


def settle(shop: Till, session: CheckoutSession) -> CheckoutSession:
    return services.settle_checkout(session.public_id, organization_id=shop.organization.pk)


def cancel(shop: Till, session: CheckoutSession) -> CheckoutSession:
    return services.cancel_checkout(
        session.public_id, organization_id=shop.organization.pk, actor=STAFF, at=NOW
    )


def methods(shop: Till) -> list[tuple[str, bool]]:
    with rls.tenant_scope(shop.organization.pk):
        found = selectors.methods_of(shop.organization.pk)
        return [(one.last4, one.is_default) for one in found]


def test_a_card_that_is_saved_there_is_charged_from_then_on(shop: Till) -> None:
    session = opened(shop, begin(shop))
    submit(shop, session)
    assert settle(shop, session).status == "complete"
    assert methods(shop) == [("4242", True)]
    shop.work()
    assert methods(shop) == [("4242", True)]


def test_a_browser_that_never_comes_back_changes_nothing_about_it(shop: Till) -> None:
    session = opened(shop, begin(shop))
    submit(shop, session)
    shop.work()
    assert again(shop, session).status == "complete"
    assert methods(shop) == [("4242", True)]


def test_two_tabs_are_one_visit(shop: Till) -> None:
    session = opened(shop, begin(shop))
    assert begin(shop).pk == session.pk
    assert opened(shop, session).url == session.url
    assert len(shop.client.v1.checkout.sessions.list().data) == 1


def test_after_leaving_another_visit_can_begin(shop: Till) -> None:
    session = opened(shop, begin(shop))
    assert cancel(shop, session).status == "expired"
    later = opened(shop, begin(shop))
    assert (later.pk != session.pk, later.status) == (True, "open")
    submit(shop, later)
    assert settle(shop, later).status == "complete"


def test_leaving_too_late_takes_nothing_back(shop: Till) -> None:
    session = opened(shop, begin(shop))
    submit(shop, session)
    cancel(shop, session)
    shop.work()
    assert again(shop, session).status == "complete"
    assert methods(shop) == [("4242", True)]


def test_an_invoice_is_paid_there(shop: Till) -> None:
    shop.bill()
    session = opened(shop, begin_to_pay(shop))
    submit(shop, session)
    assert settle(shop, session).status == "complete"
    shop.work()
    assert shop.recorded() == [(50_00, "card")]
    assert shop.invoice().status == "paid"


def test_an_invoice_that_was_handed_over_is_paid_elsewhere_for_the_provider(shop: Till) -> None:
    shop.bill()
    shop.work()
    session = opened(shop, begin_to_pay(shop))
    submit(shop, session)
    settle(shop, session)
    shop.work()
    there = shop.there()
    assert (there.status, there.amount_paid) == ("paid", 0)
    assert shop.recorded() == [(50_00, "card")]


def test_money_for_an_invoice_that_was_paid_by_hand_meanwhile_becomes_credit(shop: Till) -> None:
    shop.bill(collection="manual")
    session = opened(shop, begin_to_pay(shop))
    shop.pay_by_hand("50.00")
    submit(shop, session)
    settle(shop, session)
    assert shop.recorded() == [(50_00, "manual"), (50_00, "card")]
    with rls.tenant_scope(shop.organization.pk):
        [card] = [one for one in selectors.of_invoice(shop.invoice().pk) if one.method == "card"]
    assert card.excess == 50_00


def test_what_is_being_charged_is_not_paid_there_too(shop: Till) -> None:
    shop.save_card()
    shop.bill(collection="manual")
    shop.collect()
    with pytest.raises(AttemptUnderWay):
        begin_to_pay(shop)


def test_only_who_manages_billing_begins_a_visit(shop: Till) -> None:
    session = opened(shop, begin(shop))
    member = Actor(
        "user", "usr_1", "m", shop.organization.pk, roles.ROLE_CAPABILITIES[roles.MEMBER]
    )
    other = make_organization("other")
    with pytest.raises(Forbidden):
        begin(shop, actor=member)
    with pytest.raises(NotFound):
        services.open_checkout(session.public_id, organization_id=other.pk)
    assert again(shop, session).status == "open"
