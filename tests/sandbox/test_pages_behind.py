"""The pages behind the scenes: time, events, webhooks, lists."""

from __future__ import annotations

import subprocess
import sys

import pytest

from apps.sandbox.delivery import Chaos
from apps.sandbox.engine import Sandbox
from tests.sandbox.shop import Shop
from tests.sandbox.surfing import Visitor
from tests.sandbox.test_checkout import price, session

DAY = 86_400


@pytest.fixture
def visitor(sandbox: Sandbox) -> Visitor:
    return Visitor(sandbox)


def told(shop: Shop) -> str:
    """Register an endpoint and return its id."""
    wanted = {"url": "http://127.0.0.1:9/hook", "enabled_events": ["*"]}
    return str(shop.client.v1.webhook_endpoints.create(wanted).id)  # type: ignore[arg-type]


def test_the_index_links_every_page(shop: Shop, visitor: Visitor) -> None:
    index = visitor.open("/_stripe/")
    for path in ("time", "events", "webhooks", "customers", "invoices", "sessions"):
        assert f'href="/_stripe/{path}"' in index
        assert visitor.open(f"/_stripe/{path}").status == 200
    assert visitor.open("/_stripe").status == 200


def test_the_time_machine_goes_on_and_to_the_next_thing(shop: Shop, visitor: Visitor) -> None:
    opened = session(shop, "setup", currency="usd")
    before = shop.sandbox.now
    visitor.operate("/time", step="hour")
    assert 3_600 <= shop.sandbox.now - before < 3_660
    assert opened.id in visitor.open("/_stripe/time")
    visitor.operate("/time", step="next")
    assert shop.client.v1.checkout.sessions.retrieve(opened.id).status == "expired"
    assert visitor.operate("/time", step="next").status == 409
    assert visitor.operate("/time", step="century").status == 400


@pytest.mark.parametrize("path", ["/time", "/webhooks"])
def test_other_sites_cannot_send_forms(shop: Shop, visitor: Visitor, path: str) -> None:
    before = shop.sandbox.now
    assert visitor.send(f"/_stripe{path}", step="week", do="chaos", drop="100").status == 403
    assert visitor.send(f"/_stripe{path}", step="week", token="guessed").status == 403
    assert shop.sandbox.now - before < 60
    assert shop.sandbox.store.note("chaos") is None


def test_an_event_is_shown_as_sent_and_sent_again(shop: Shop, visitor: Visitor) -> None:
    endpoint = told(shop)
    ada = shop.customer(card=None)
    (event,) = shop.client.v1.events.list({"type": "customer.created"}).data
    listed = visitor.open("/_stripe/events?type=customer.cr")
    assert event.id in listed
    shown = visitor.open(f"/_stripe/events/{event.id}")
    assert f'"id": "{ada.id}"' in shown
    before = shop.sandbox.store.waiting_deliveries(event.id)
    visitor.operate(f"/events/{event.id}", endpoint=endpoint)
    assert shop.sandbox.store.waiting_deliveries(event.id) == before + 1


def test_events_come_in_pages(shop: Shop, visitor: Visitor) -> None:
    names = [shop.client.v1.products.create({"name": str(n)}).id for n in range(60)]
    first = visitor.open("/_stripe/events?type=product.created")
    assert names[-1] in first
    assert names[0] not in first
    older = first.text.partition("before=")[2].partition('"')[0]
    second = visitor.open(f"/_stripe/events?type=product.created&before={older}")
    assert names[0] in second
    assert names[9] in second
    assert names[10] not in second


def test_deliveries_are_disturbed_and_calmed_down(shop: Shop, visitor: Visitor) -> None:
    visitor.operate("/webhooks", do="chaos", duplicate="30", drop="10", seed="7")
    chaos = Chaos(**shop.sandbox.store.note("chaos"))
    assert (chaos.duplicate, chaos.drop, chaos.delay, chaos.seed) == (0.3, 0.1, 0.0, 7)
    assert "Deliveries are disturbed." in visitor.open("/_stripe/webhooks")
    assert visitor.operate("/webhooks", do="chaos", drop="101").status == 400
    assert visitor.operate("/webhooks", do="chaos", drop="many").status == 400
    visitor.operate("/webhooks", do="calm")
    assert Chaos(**shop.sandbox.store.note("chaos")) == Chaos()


def test_deliveries_are_listed(shop: Shop, visitor: Visitor) -> None:
    told(shop)
    shop.customer(card=None)
    shown = visitor.open("/_stripe/webhooks")
    assert "http://127.0.0.1:9/hook" in shown
    assert "customer.created" in shown


def test_a_saved_card_behaves_differently_from_now_on(shop: Shop, visitor: Visitor) -> None:
    ada = shop.customer()
    (card,) = shop.client.v1.customers.payment_methods.list(ada.id).data
    form = {"do": "behave", "method": card.id, "number": "4000000000009995"}
    visitor.operate(f"/customers/{ada.id}", **form)
    place = str(shop.final(ada, 10_00).hosted_invoice_url)
    assert "insufficient funds" in visitor.send(place, saved=card.id)
    other = shop.customer(card=None)
    assert visitor.operate(f"/customers/{other.id}", **form).status == 404


def test_the_billing_portal_opens_from_a_customers_page(shop: Shop, visitor: Visitor) -> None:
    ada = shop.customer(name="Ada")
    place = visitor.operate(f"/customers/{ada.id}", do="portal").location
    assert "Billing of Ada" in visitor.open(place)


def test_lists_show_what_there_is(shop: Shop, visitor: Visitor) -> None:
    ada = shop.customer(name="Ada")
    invoice = shop.final(ada, 12_34)
    draft = shop.draft(ada, 5_00)
    opened = session(shop, "payment", price(shop, recurring=False))
    assert "Ada" in visitor.open("/_stripe/customers")
    listed = visitor.open("/_stripe/invoices")
    assert str(invoice.number) in listed
    assert "12.34 USD" in listed
    assert str(draft.id) in listed
    assert opened.id in visitor.open("/_stripe/sessions")


# The sandbox's process loads no app of Django's: nothing in a page may need one.
BARE = """
from apps.sandbox.engine import Sandbox
from tests.sandbox.surfing import Visitor
visitor = Visitor(Sandbox())
for path in ("", "time", "events", "webhooks", "customers", "invoices", "sessions", "nothing"):
    print(visitor.open(f"/_stripe/{path}").status)
"""


def test_pages_are_drawn_where_no_app_is_loaded() -> None:
    command = [sys.executable, "-c", BARE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["200"] * 7 + ["404"], done.stderr
