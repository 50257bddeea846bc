"""Paying by card in a browser: our pages, the provider's hosted pages, and back again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.conf import LazySettings
from django.core.servers.basehttp import ThreadedWSGIServer
from django.db import connections
from playwright.sync_api import Browser, Page, expect

from apps.backoffice.demo import showcase
from apps.core import clock, rls
from apps.payments import gateway, services
from apps.plans import services as plans
from apps.plans.catalog import read_catalog
from apps.sandbox.engine import Sandbox
from apps.sandbox.pages.door import answer
from apps.sandbox.transports import MOUNT, Application, SandboxClient
from tests.browser.conftest import QuietHandler, at_noon
from tests.browser.test_portal import sign_in
from tests.conftest import STAFF
from tests.portal import world

pytestmark = pytest.mark.browser
PAYS, REFUSES, ASKS = "4242424242424242", "4000000000000341", "4000002760003184"


@pytest.fixture
def provider(live: str, settings: LazySettings) -> Iterator[Sandbox]:
    """The stand-in of the provider with its hosted pages, on an origin of its own."""
    server = ThreadedWSGIServer(("127.0.0.1", 0), QuietHandler)
    server.daemon_threads = True
    origin = f"http://127.0.0.1:{server.server_address[1]}"
    sandbox = Sandbox(base_url=f"{origin}{MOUNT}")
    server.set_app(at_noon(Application(sandbox, answer)))
    policy = settings.CONTENT_SECURITY_POLICY["DIRECTIVES"]
    allowed = {**policy, "form-action": [*policy["form-action"], origin]}
    settings.CONTENT_SECURITY_POLICY = {"DIRECTIVES": allowed}
    settings.API_BASE_URL = live
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with gateway.use(SandboxClient(sandbox)):
        yield sandbox
    server.shutdown()
    server.server_close()
    thread.join()
    assert sandbox.violations == []


@pytest.fixture
def customer(live: str) -> None:
    """Somebody who has bought nothing yet; made before the browser runs."""
    with rls.ops_scope("test: catalogue"):
        catalog = read_catalog(str(showcase.CATALOG))
        plans.load_catalog(catalog, actor=STAFF, at=world.START)
    world.make_customer(plan="")


@pytest.fixture
def page(live: str, provider: Sandbox, customer: None, chromium: Browser) -> Iterator[Page]:
    """The window of the customer's owner."""
    context = chromium.new_context(viewport={"width": 1200, "height": 900})
    page = context.new_page()
    sign_in(page, live)
    yield page
    context.close()


def add_card(page: Page, live: str, number: str) -> None:
    page.goto(f"{live}/portal/payment/")
    page.click("text=Add a payment method")
    expect(page.locator(".band")).to_have_text("Simulated Stripe: no money moves")
    page.check(f"input[value='{number}']")
    page.click("button[value=pay]")
    if "/challenge/" in page.url:
        page.click("button[value=complete]")
    expect(page.locator("main")).to_contain_text("Your payment method is saved.")
    expect(page.locator("li", has_text=number[-4:])).to_contain_text("Charged")


def subscribe(page: Page, live: str, code: str = "") -> None:
    page.goto(f"{live}/portal/plan/subscribe/atlas-team/")
    page.fill("input[name=quantity]:visible", "2")
    page.fill("input[name=code]:visible", code)
    page.click("text=Show the price")
    page.click("button:has-text('Subscribe and pay')")


def hear_from_provider() -> None:
    with clock.frozen(world.NOW):
        services.backfill_events()
        services.handle_events()
    connections.close_all()


def test_an_owner_saves_a_card_and_subscribes_with_a_promotion_code(page: Page, live: str) -> None:
    add_card(page, live, PAYS)
    subscribe(page, live, "WELCOME20")
    expect(page.locator("main")).to_contain_text("Paid. Thank you.")
    page.goto(f"{live}/portal/invoices/CH-000001/")
    expect(page.locator("main")).to_contain_text("$88.00")  # (80.00 + 2 x 15.00) less 20 %
    expect(page.locator("main")).to_contain_text("Paid on")


def test_what_one_card_refuses_another_one_pays(page: Page, live: str) -> None:
    add_card(page, live, REFUSES)
    subscribe(page, live)
    expect(page.locator("main")).to_contain_text("The payment did not go through.")
    page.goto(f"{live}/portal/invoices/CH-000001/")
    expect(page.locator("main")).to_contain_text("Your card was declined.")
    add_card(page, live, PAYS)
    page.goto(f"{live}/portal/invoices/CH-000001/")
    page.click("button:has-text('Pay $110.00')")
    expect(page.locator("main")).to_contain_text("Paid. Thank you.")


def test_a_payment_is_confirmed_at_the_bank_and_known_here(page: Page, live: str) -> None:
    add_card(page, live, ASKS)
    subscribe(page, live)
    page.goto(f"{live}/portal/invoices/CH-000001/")
    page.click("a:has-text('Confirm it')")
    page.click("a:has-text('confirm it')")
    page.click("button[value=complete]")
    expect(page.locator("main")).to_contain_text("Invoice paid")
    with ThreadPoolExecutor(1) as worker:  # the browser's own thread may not ask the database
        worker.submit(hear_from_provider).result()
    page.goto(f"{live}/portal/invoices/CH-000001/")
    expect(page.locator("main")).to_contain_text("Paid on")


def test_an_invoice_is_paid_on_the_providers_page_by_any_card(page: Page, live: str) -> None:
    add_card(page, live, REFUSES)
    subscribe(page, live)
    page.goto(f"{live}/portal/invoices/CH-000001/")
    page.click("text=Pay another way")
    page.click("a:has-text('Back, without paying')")
    expect(page.locator("main")).to_contain_text("Nothing was changed.")
    page.click("text=Pay another way")
    page.check("input[value='4000000000009995']")
    page.click("button[value=pay]")
    expect(page.locator("[role=alert]")).to_have_text("Your card has insufficient funds.")
    page.check(f"input[value='{PAYS}']")
    page.click("button[value=pay]")
    expect(page.locator("main")).to_contain_text("Paid. Thank you.")
