from __future__ import annotations

import csv
import html
import io
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from apps.core import clock, rls
from apps.core.models import OutboxEvent
from apps.invoicing import services as invoicing
from apps.invoicing.models import Invoice
from apps.subscriptions import services as subscriptions
from apps.subscriptions.models import QuantityStep, Subscription
from apps.tenants import services as tenants
from tests import worlds
from tests.conftest import STAFF
from tests.portal import world
from tests.portal.conftest import signed_in
from tests.portal.world import Customer


@pytest.fixture
def owner(acme: Customer) -> Client:
    return signed_in(acme.owner)


def text(client: Client, path: str, status: int = 200) -> str:
    """What a reader sees: no tags, single spaces."""
    response = client.get(f"/portal/{path}")
    assert response.status_code == status, path
    return plain(response.content)


def plain(body: bytes) -> str:
    inline = re.sub(r"</?time\b[^>]*>", "", body.decode())
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", inline)).split())


def sub_of(acme: Customer) -> str:
    assert acme.subscription is not None
    return acme.subscription.public_id


def test_the_overview_shows_usage_what_is_due_and_the_next_invoice(owner: Client) -> None:
    page = text(owner, "")
    assert "$67.50 is due." in page  # 50.00 base + 8.50 context + 9.00 generated, due 15 December
    assert "4,983 of 5,000 included left" in page  # 17 requests in December
    assert "$50.06" in page  # base of January, 17 × 1000 × 0.0000015 and 5 packages × 0.006
    assert "$0.06 of it is usage" in page


def test_what_is_overdue_is_named(owner: Client) -> None:
    with clock.frozen(datetime(2023, 12, 16, tzinfo=UTC)):
        assert "$67.50 is overdue." in text(owner, "")
        assert "CH-000002" in text(owner, "invoices/?status=overdue")
    assert "CH-000002" not in text(owner, "invoices/?status=overdue")


def test_an_organization_without_a_subscription_is_led_to_the_plans(acme: Customer) -> None:
    newcomer = signed_in(world.make_customer("newco", plan="").owner)
    assert "Choose a plan" in text(newcomer, "")
    assert "Nothing is metered" in text(newcomer, "usage/")
    assert "No invoices yet" in text(newcomer, "invoices/")


def test_usage_costs_what_its_period_was_billed(owner: Client) -> None:
    page = text(owner, "usage/?period=previous")
    assert "Cost of usage $17.50" in page
    assert "6,000,000" in page
    assert "1 Nov 2023 – 30 Nov 2023" in page


def test_the_days_of_a_meter_come_as_csv(acme: Customer, owner: Client) -> None:
    response = owner.get(f"/portal/usage/{sub_of(acme)}/context_tokens.csv?period=previous")
    rows = list(csv.DictReader(io.StringIO(response.content.decode())))
    assert len(rows) == 30
    assert rows[15] == {
        "start": "2023-11-16T00:00:00Z",
        "end": "2023-11-17T00:00:00Z",
        "meter": "context_tokens",
        "quantity": "6000000",
        "events": "30",
    }


def test_an_unknown_meter_is_not_found(acme: Customer, owner: Client) -> None:
    assert owner.get(f"/portal/usage/{sub_of(acme)}/nonsense.csv").status_code == 404


def test_a_trial_counts_usage_and_charges_nothing(acme: Customer) -> None:
    world.load("metered")
    customer = world.make_customer("trialco", plan="scale")
    client = signed_in(customer.owner)
    with clock.frozen(world.START + timedelta(days=3)):
        page = text(client, "")
        assert "11 days of trial left." in page
        assert "Free during the trial" in page
        assert "Free during the trial" in text(client, "usage/")


def test_every_line_of_an_invoice_is_explained_tier_by_tier(owner: Client) -> None:
    page = text(owner, "invoices/CH-000002/")
    assert "30 − 5,000 included = 0 billable" in page
    assert "0 to 5,000,000 5,000,000 $0.0000015 $7.50" in page
    assert "above 5,000,000 1,000,000 $0.000001 $1.00" in page
    assert "30 events counted by the meter context_tokens" in page
    assert "Fingerprint of the events" in page
    assert "Total $67.50" in page


def test_the_pdf_is_a_pdf_of_that_invoice(owner: Client) -> None:
    response = owner.get("/portal/invoices/CH-000002/pdf/")
    assert response.content.startswith(b"%PDF-")
    assert response["Content-Disposition"] == 'attachment; filename="CH-000002.pdf"'


def test_a_draft_is_nobodys_business(acme: Customer, owner: Client) -> None:
    until = datetime(2024, 1, 1, tzinfo=UTC)
    invoicing.bill_due(as_of=until, actor=STAFF, at=until, keep_drafts=True)
    with rls.tenant_scope(acme.organization.pk):
        draft = Invoice.objects.get(status="draft")
    assert owner.get(f"/portal/invoices/{draft.public_id}/").status_code == 404
    assert "All 2" in text(owner, "invoices/")


def test_invoices_are_read_page_by_page(acme: Customer, owner: Client) -> None:
    until = datetime(2025, 12, 1, tzinfo=UTC)
    world.bill(until)
    first = owner.get("/portal/invoices/")
    numbers = re.findall(r"row-link num[^>]*>([^<]+)<", first.content.decode())
    older = re.search(r"before=(inv_\w+)", first.content.decode())
    assert older is not None
    second = owner.get(f"/portal/invoices/?status=&before={older.group(1)}")
    rest = re.findall(r"row-link num[^>]*>([^<]+)<", second.content.decode())
    assert [*numbers, *rest] == [f"CH-{n:06d}" for n in range(26, 0, -1)]


def test_the_upcoming_page_writes_nothing(acme: Customer, owner: Client) -> None:
    assert "Total $50.06" in text(owner, f"invoices/upcoming/{sub_of(acme)}/")
    with rls.tenant_scope(acme.organization.pk):
        assert Invoice.objects.count() == 2


def test_the_preview_of_seats_is_what_is_billed(acme: Customer, owner: Client) -> None:
    path = f"plan/{sub_of(acme)}/seats/seats/"
    page = text(owner, f"{path}?quantity=5")
    # 2 × 12.00 for January and, from noon of the 10th, 21.5 of 31 days of December: 16.645… → 16.65
    assert "Difference +$40.65" in page
    assert "Next invoice with the change $90.71" in page
    with rls.tenant_scope(acme.organization.pk):
        assert QuantityStep.objects.count() == 1  # the preview has stored nothing
    confirmed = world.confirmation(owner, f"/portal/{path}?quantity=5")
    assert owner.post(f"/portal/{path}", confirmed).status_code == 302
    until = datetime(2024, 1, 1, tzinfo=UTC)
    world.bill(until)
    with rls.tenant_scope(acme.organization.pk):
        assert Invoice.objects.get(number="CH-000003").total == 90_71


@pytest.mark.parametrize("quantity", ["-1", "2.5", "many", "1000001", ""])
def test_a_quantity_that_is_none_is_refused_at_its_field(
    acme: Customer, owner: Client, quantity: str
) -> None:
    path = f"/portal/plan/{sub_of(acme)}/seats/seats/"
    response = owner.post(path, {"quantity": quantity})
    assert response.status_code == 422
    assert 'aria-invalid="true"' in response.content.decode()
    with rls.tenant_scope(acme.organization.pk):
        assert QuantityStep.objects.count() == 1


def test_subscribing_shows_the_first_invoice_and_bills_exactly_that(acme: Customer) -> None:
    customer = world.make_customer("newco", plan="")
    client = signed_in(customer.owner)
    assert "Total $74.00" in text(client, "plan/subscribe/gateway/?quantity=5")
    assert not _subscriptions(customer)
    assert client.post("/portal/plan/subscribe/gateway/", {"quantity": "5"}).status_code == 302
    assert _subscriptions(customer) == ["active"]
    world.bill(world.NOW)
    with rls.tenant_scope(customer.organization.pk):
        assert Invoice.objects.get().total == 74_00


def test_a_plan_is_paid_in_the_currency_that_is_chosen(acme: Customer) -> None:
    world.load("payments")
    customer = world.make_customer("newco", plan="")
    client = signed_in(customer.owner)
    path = "plan/subscribe/payments-standard/"
    assert "$20.00" in text(client, path)
    assert "€18.00" in text(client, f"{path}?quantity=0&currency=EUR")
    assert client.post(f"/portal/{path}", {"quantity": "0", "currency": "SEK"}).status_code == 422
    assert not _subscriptions(customer)
    assert client.post(f"/portal/{path}", {"quantity": "0", "currency": "EUR"}).status_code == 302
    with rls.tenant_scope(customer.organization.pk):
        assert Subscription.objects.get().currency == "EUR"


def test_a_plan_that_is_not_sold_in_the_currency_says_so_instead_of_offering_itself(
    acme: Customer,
) -> None:
    customer = world.make_customer("newco", plan="", currency="EUR")
    client = signed_in(customer.owner)
    page = text(client, "plan/")
    assert "Not available in EUR, which you pay in: it is sold in USD." in page
    assert "/portal/plan/subscribe/gateway/" not in client.get("/portal/plan/").content.decode()


def test_a_page_shows_the_time_of_the_organizations_clock(acme: Customer, owner: Client) -> None:
    worlds.put_on_clock(acme.organization, datetime(2024, 3, 5, 8, tzinfo=UTC))
    response = owner.get("/portal/plan/")
    (running,) = response.context["running"]
    assert running.period.start == datetime(2024, 3, 1, tzinfo=UTC)


def _subscriptions(customer: Customer) -> list[str]:
    with rls.tenant_scope(customer.organization.pk):
        return list(Subscription.objects.values_list("status", flat=True))


def test_a_second_subscription_for_the_application_is_refused(
    acme: Customer, owner: Client
) -> None:
    response = owner.post("/portal/plan/subscribe/gateway/", {"quantity": "5"})
    assert response.status_code == 422
    assert "You have a plan for this application already" in plain(response.content)
    assert _subscriptions(acme) == ["active"]


def test_a_private_or_custom_plan_cannot_be_taken_by_its_code(
    acme: Customer, owner: Client
) -> None:
    world.load("licences")
    for code in ("no-such-plan", "enterprise"):
        assert owner.get(f"/portal/plan/subscribe/{code}/").status_code == 404
        assert owner.post(f"/portal/plan/subscribe/{code}/").status_code == 404


def test_a_cancellation_waits_for_the_period_and_can_be_taken_back(
    acme: Customer, owner: Client
) -> None:
    path = f"/portal/plan/{sub_of(acme)}"
    owner.post(f"{path}/cancel/", {"reason": "unused", "comment": "a quiet year"})
    with rls.tenant_scope(acme.organization.pk):
        row = Subscription.objects.get()
    assert row.cancel_at == datetime(2024, 1, 1, tzinfo=UTC)
    assert row.cancel_reason == "unused: a quiet year"
    assert "Gateway ends on 1 Jan 2024." in text(owner, "")
    owner.post(f"{path}/keep/")
    with rls.tenant_scope(acme.organization.pk):
        assert Subscription.objects.get().cancel_at is None


def test_a_refusal_takes_back_everything_the_page_wrote(acme: Customer, owner: Client) -> None:
    with rls.ops_scope("test: count facts"):
        before = OutboxEvent.objects.count()
    owner.post(f"/portal/plan/{sub_of(acme)}/resume/")
    with rls.ops_scope("test: count facts"):
        assert OutboxEvent.objects.count() == before
    assert "Only a paused subscription can be resumed." in text(owner, "plan/")


def test_pages_speak_the_organizations_language_and_formats(acme: Customer, owner: Client) -> None:
    with rls.tenant_scope(acme.organization.pk):
        tenants.update_organization(
            acme.organization.pk, changes={"locale": "de"}, actor=STAFF, at=world.NOW
        )
    page = owner.get("/portal/invoices/").content.decode()
    assert "67,50\xa0$" in page
    assert 'lang="de"' in page
    explained = text(owner, "invoices/CH-000002/")
    assert "0 bis 5.000.000 5.000.000 0,0000015 $ 7,50 $" in explained


def test_times_stand_in_the_organizations_zone_with_utc_behind_them(acme: Customer) -> None:
    customer = world.make_customer("sydney", timezone="Australia/Sydney")
    world.bill(world.NOW)
    page = signed_in(customer.owner).get("/portal/invoices/").content.decode()
    assert 'title="2023-11-01 00:00:00 UTC">1 Nov 2023<' in page  # 11:00 there
    assert "1 Nov 2023, 11:00 – 1 Dec 2023, 11:00" in page


@pytest.fixture
def credited(acme: Customer) -> str:
    """The number of a negative invoice: 100 seats billed for January and given back on its 2nd."""
    assert acme.subscription is not None
    for seats, day in ((100, world.NOW), (0, datetime(2024, 1, 2, tzinfo=UTC))):
        with rls.tenant_scope(acme.organization.pk):
            subscriptions.change_quantity(
                acme.subscription.public_id, quantity=seats, actor=STAFF, at=day
            )
        world.bill(day.replace(day=1) + timedelta(days=31))
    with rls.tenant_scope(acme.organization.pk):
        return str(Invoice.objects.order_by("-sequence")[0].number)


def test_what_an_invoice_gives_back_is_kept_as_credit(owner: Client, credited: str) -> None:
    with clock.frozen(datetime(2024, 3, 20, tzinfo=UTC)):
        page = text(owner, f"invoices/{credited}/")
    # 50.00 for February less 97 × 12.00 for 30 of 31 days of January, as it was billed
    assert "Amount before credit -$1,076.45 Kept as your credit $1,076.45 Total $0.00" in page
    assert "Overdue" not in page
    assert "Pay by bank transfer" not in page


def test_only_what_is_open_counts_as_due(acme: Customer, owner: Client, credited: str) -> None:
    with rls.tenant_scope(acme.organization.pk):
        dues = [row.amount_due for row in Invoice.objects.filter(status="open")]
    with clock.frozen(datetime(2024, 2, 1, 12, tzinfo=UTC)):
        assert _shown(owner) == sum(dues)


def _shown(owner: Client) -> int:
    found = re.search(r"Amount due \$([\d,.]+)", text(owner, "invoices/"))
    assert found is not None
    return int(re.sub(r"\D", "", found[1]))


def test_the_preview_of_seats_says_when_a_credit_is_left(acme: Customer, owner: Client) -> None:
    with rls.tenant_scope(acme.organization.pk):
        subscriptions.change_quantity(sub_of(acme), quantity=100, actor=STAFF, at=world.NOW)
    world.bill(datetime(2024, 1, 1, tzinfo=UTC))
    with clock.frozen(datetime(2024, 1, 2, tzinfo=UTC)):
        page = text(owner, f"plan/{sub_of(acme)}/seats/seats/?quantity=0")
        # 50.00 for February less 97 × 12.00 for 30 of 31 days of January: 1126.45
        assert "Kept as your credit $1,076.45" in page
        assert "Kept as your credit" not in text(
            owner, f"plan/{sub_of(acme)}/seats/seats/?quantity=99"
        )


@pytest.fixture
def early(acme: Customer) -> Customer:
    """A customer whose subscription starts in ten days."""
    customer = world.make_customer("early", plan="")
    starts = world.NOW + timedelta(days=10, seconds=7)
    with rls.tenant_scope(customer.organization.pk):
        facts = subscriptions.subscribe(
            customer.organization.pk,
            plan="gateway",
            start=starts,
            seats=8,
            actor=STAFF,
            at=world.NOW,
        )
    return replace(customer, subscription=facts)


def test_what_starts_later_says_when_and_cannot_be_changed_yet(early: Customer) -> None:
    client, path = signed_in(early.owner), f"plan/{sub_of(early)}"
    for page in (text(client, ""), text(client, "plan/")):
        assert "Starts on 20 Dec 2023" in page
        assert "Active" not in page
        assert "Change" not in page
        assert " 8 " in page  # the seats it will have
        assert "20 Dec 2023 – 20 Jan 2024" in page  # by the day, although it starts at 12:00:07
    assert client.get(f"/portal/{path}/seats/seats/").status_code == 302
    assert "it ends at once, and nothing is billed" in text(client, f"{path}/cancel/")
    client.post(f"/portal/{path}/cancel/", {"reason": "unused", "comment": ""})
    with rls.tenant_scope(early.organization.pk):
        assert Subscription.objects.get().status == "canceled"


def test_a_trial_is_counted_down_only_once_it_runs(acme: Customer) -> None:
    world.load("metered")
    customer = world.make_customer("trialco", plan="")
    starts = world.NOW + timedelta(days=3)
    with rls.tenant_scope(customer.organization.pk):
        subscriptions.subscribe(
            customer.organization.pk, plan="scale", start=starts, actor=STAFF, at=world.NOW
        )
    client = signed_in(customer.owner)
    assert "of trial left" not in text(client, "")
    with clock.frozen(starts):
        assert "14 days of trial left." in text(client, "")


def test_a_plan_is_named_with_its_application(acme: Customer, owner: Client) -> None:
    subscription = sub_of(acme)
    assert "Gateway AI Gateway · 1 Dec 2023" in text(owner, "")
    assert "Gateway AI Gateway · 1 Dec 2023" in text(owner, "usage/")
    assert "Gateway AI Gateway · per month" in text(owner, "plan/")
    for page in (
        f"plan/{subscription}/cancel/",
        f"plan/{subscription}/seats/seats/",
        f"invoices/upcoming/{subscription}/",
        "invoices/",
    ):
        assert "AI Gateway · Gateway" in text(owner, page)
