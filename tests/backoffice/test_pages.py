from __future__ import annotations

import re

import pytest
from django.conf import LazySettings
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from apps.backoffice.admin import mirror
from apps.backoffice.site import SCREENS, site
from apps.core import rls
from apps.invoicing.models import Correction, Invoice, InvoiceLine
from apps.subscriptions.models import Subscription
from apps.tenants.models import Organization
from apps.usage.models import UsageBucket, UsageSeal
from tests import worlds
from tests.backoffice.pages import page, rows, text, url
from tests.worlds import NOW, World


def test_every_list_and_page_opens_for_admins(admin: Client, everything: None) -> None:
    for model in SCREENS:
        assert admin.get(url(model)).status_code == 200, model
        found = rows(model)
        assert found or model in {UsageBucket, UsageSeal, Correction}
        for row in found[:3]:
            shown = admin.get(page(row))
            assert shown.status_code == 200, row
            assert ">None<" not in text(shown), row


@pytest.mark.parametrize("who", ["finance", "support"])
def test_finance_and_support_look_at_every_list(
    request: pytest.FixtureRequest, everything: None, who: str
) -> None:
    client: Client = request.getfixturevalue(who)
    for model in SCREENS:
        assert client.get(url(model)).status_code == 200, model
        for row in rows(model)[:1]:
            assert client.get(page(row)).status_code == 200, row


def test_owners_and_strangers_see_no_list_and_no_page(owner: Client, everything: None) -> None:
    for client in (owner, Client()):
        for model in SCREENS:
            addresses = [url(model), *(page(row) for row in rows(model)[:1])]
            for address in [*addresses, "/admin/", "/admin/books/"]:
                assert client.get(address)["Location"].startswith("/admin/login/"), address


def test_searches_answer(admin: Client, everything: None) -> None:
    for model in SCREENS:
        for term in ("acme", "%_'\"\\", "9" * 30):
            assert admin.get(url(model), {"q": term}).status_code == 200, (model, term)


def test_a_page_that_is_not_there_is_a_404(admin: Client) -> None:
    for model in SCREENS:
        for reference in ("999999999", "nonsense", "9" * 40, "inv_01m7vnen5gfz1sjxer8c3sa8rr"):
            assert admin.get(url(model, "change", reference)).status_code == 404, model


def test_the_dashboard_counts_and_sums(admin: Client, everything: None) -> None:
    shown = text(admin.get("/admin/"))
    assert "100.00 USD" in shown  # 50.00 of November and 50.00 left of December's 54.51
    assert "4.51 USD" in shown
    assert "54.51 USD" in shown
    assert "needs a look" in shown


def test_the_dashboard_of_an_empty_house_opens(db: None) -> None:
    client = Client()
    client.force_login(worlds.make_staff("first@house.example", "Admin"))
    shown = client.get("/admin/")
    assert shown.status_code == 200
    assert "No invoice yet" in text(shown)


def test_every_number_of_the_dashboard_leads_to_its_list(admin: Client, everything: None) -> None:
    content = text(admin.get("/admin/"))
    links = re.findall(r'class="ch-card[^"]*" href="([^"]+)"', content)
    assert len(links) >= 12
    for link in links:
        answer = admin.get(link.replace("&amp;", "&"))
        assert answer.status_code == 200, link


def test_the_invoice_tabs_count_and_sum(admin: Client, everything: None) -> None:
    answer = admin.get(url(Invoice))
    tabs = {tab.title: (tab.count, tab.sums) for tab in answer.context["tabs"]}
    assert tabs["All"] == (3, "")
    assert tabs["Draft"][0] == 1
    assert tabs["Open"] == (2, "100.00 USD")
    assert tabs["Past due"] == (1, "50.00 USD")


def test_past_due_shows_only_what_is_late(admin: Client, everything: None) -> None:
    answer = admin.get(url(Invoice), {"show": "past_due"})
    (row,) = answer.context["cl"].result_list
    assert row.due_at < NOW


def test_an_invoice_says_why_its_amounts_are_so(admin: Client, world: World) -> None:
    with rls.ops_scope("test"):
        invoice = Invoice.objects.get(public_id=world.second_invoice)
    shown = text(admin.get(page(invoice)))
    assert "Why this amount" in shown
    assert "3 − 5,000 included = 0 to bill" in shown
    assert "0.0000015" in shown
    assert "rounded half away from zero" in shown


def test_a_line_leads_to_the_events_it_counted(admin: Client, world: World) -> None:
    with rls.ops_scope("test"):
        line = InvoiceLine.objects.get(invoice__public_id=world.second_invoice, key="ai_requests")
    shown = admin.get(url(Invoice, "usage", line.invoice_id, line.public_id))
    assert shown.context["agrees"]
    assert shown.context["later"] == 0
    events = admin.get(shown.context["events_url"])
    assert len(events.context["cl"].result_list) == 3


def test_a_line_without_usage_has_no_such_page(admin: Client, world: World) -> None:
    with rls.ops_scope("test"):
        line = InvoiceLine.objects.filter(usage_epoch=None)[0]
    assert admin.get(url(Invoice, "usage", line.invoice_id, line.public_id)).status_code == 404


def test_an_invoice_downloads_as_pdf(support: Client, world: World) -> None:
    (invoice, *_) = rows(Invoice)
    answer = support.get(page(invoice, "download"))
    assert answer["Content-Type"] == "application/pdf"
    assert answer.content.startswith(b"%PDF")


def test_the_books_are_proven_on_demand(support: Client, everything: None) -> None:
    assert "The proof recomputes" in text(support.get("/admin/books/"))
    shown = support.post("/admin/books/")
    assert shown.context["result"].hold
    assert "The books hold" in text(shown)


def test_pages_are_found_by_public_id_too(admin: Client, world: World) -> None:
    assert admin.get(url(Organization, "change", world.organization.public_id)).status_code == 200


def test_history_leads_to_the_audit_of_the_row(admin: Client, world: World) -> None:
    answer = admin.get(page(world.organization, "history"), follow=True)
    entries = answer.context["cl"].result_list
    assert {entry.target for entry in entries} == {world.organization.public_id}


def test_a_hidden_audit_is_gone_from_every_page(
    admin: Client, world: World, settings: LazySettings
) -> None:
    settings.ENABLE_AUDIT_LOG = False
    assert admin.get(reverse("admin:audit_auditentry_changelist")).status_code == 403
    assert "auditentry" not in text(admin.get("/admin/"))
    shown = admin.get(page(world.organization))
    assert "Audit" not in [panel.title for panel in shown.context["panels"]]
    assert not shown.context["history_url"]


def test_a_longer_list_asks_no_more_of_the_database(admin: Client, everything: None) -> None:
    few = {model: _statements(admin, model) for model in SCREENS}
    worlds.gateway_world("globex")
    worlds.gateway_world("initech")
    assert {model: _statements(admin, model) for model in SCREENS} == few
    assert max(few.values()) <= 17  # one asks whether there is a second factor to show


def _statements(client: Client, model: type[Model]) -> int:
    with CaptureQueriesContext(connection) as captured:
        client.get(url(model))
    return len(captured)


def test_only_our_own_screens_are_registered() -> None:
    assert set(site._registry) == {*SCREENS, *mirror.SCREENS}


def test_subscriptions_name_the_application_before_the_plan(admin: Client, world: World) -> None:
    with rls.ops_scope("test"):
        row = Subscription.objects.select_related("application", "plan_version__plan").get()
        name = f"{row.application.name} · {row.plan_version}"
        organization = row.organization
    for address in (url(Subscription), page(row), page(organization)):
        assert name in text(admin.get(address)), address
