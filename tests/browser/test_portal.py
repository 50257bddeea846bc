from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page

from apps.core import rls
from apps.tenants import selectors as tenants
from apps.tenants import services
from tests.conftest import STAFF
from tests.portal import world
from tests.portal.world import Customer
from tests.watch.rows import watched

pytestmark = pytest.mark.browser
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture
def acme(live: str) -> Customer:
    """A customer with a history, an API key and an open invitation."""
    customer = world.history()
    world.load("metered", "seats")
    with rls.tenant_scope(customer.organization.pk):
        for name in ("production", "old"):
            services.create_api_key(
                customer.organization.pk,
                name=name,
                scopes=["usage:write"],
                actor=STAFF,
                at=world.NOW,
                expires_at=None if name == "production" else world.NOW.replace(hour=13),
            )
        services.invite_member(
            customer.organization.pk,
            email="new@acme.example",
            role="MEMBER",
            actor=STAFF,
            at=world.NOW,
        )
    return customer


@pytest.fixture
def link(acme: Customer) -> str:
    """The path of the invitation's link."""
    with rls.tenant_scope(acme.organization.pk):
        (row,) = tenants.open_invitations(acme.organization.pk, at=world.NOW)
        return f"/portal/invitations/{tenants.invitation_token(row)}/"


@pytest.fixture
def paths(acme: Customer, link: str) -> list[str]:
    """Every page that an owner can open."""
    assert acme.subscription is not None
    subscription = acme.subscription.public_id
    with rls.tenant_scope(acme.organization.pk):
        watched(acme.organization.pk, meter="ai_requests", actor=STAFF, at=world.NOW)
    world.sign_licence(acme, "plant-1")
    return [
        "/portal/",
        "/portal/usage/",
        "/portal/usage/?period=previous",
        "/portal/alerts/",
        "/portal/plan/",
        "/portal/plan/subscribe/scale/",
        f"/portal/plan/{subscription}/seats/seats/?quantity=5",
        f"/portal/plan/{subscription}/seats/seats/?quantity=-5",
        f"/portal/plan/{subscription}/seats/seats/?quantity=5&when=next_period",
        f"/portal/plan/{subscription}/cancel/",
        f"/portal/plan/{subscription}/pause/",
        "/portal/invoices/",
        "/portal/invoices/?status=void",
        f"/portal/invoices/upcoming/{subscription}/",
        "/portal/invoices/CH-000002/",
        "/portal/credit/",
        "/portal/licences/",
        "/portal/details/",
        "/portal/team/",
        "/portal/developers/",
        "/portal/security/",
        "/portal/security/confirm/",
        "/portal/security/password/",
        "/portal/security/address/",
        "/portal/security/authenticator/",
        "/portal/security/passkeys/",
        "/portal/activity/",
        "/portal/choose/",
        "/portal/nowhere/",
        link,
    ]


@pytest.fixture(params=[(1280, "light"), (320, "dark")], ids=["wide light", "narrow dark"])
def visitor(
    request: pytest.FixtureRequest, acme: Customer, paths: list[str], chromium: Browser
) -> Iterator[BrowserContext]:
    """A browser window of that width in that scheme; the world is made before it opens."""
    width, scheme = request.param
    context = chromium.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
    )
    yield context
    context.close()


def sign_in(page: Page, live: str, email: str = "owner@acme.example") -> None:
    page.goto(f"{live}/portal/login/")
    page.fill("[name=username]", email)
    page.fill("[name=password]", world.PASSWORD)
    page.click("main button:has-text('Sign in')")


def test_every_page_is_accessible_calm_and_from_here_only(
    visitor: BrowserContext, live: str, paths: list[str]
) -> None:
    page, axe = visitor.new_page(), Axe()
    foreign: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda r: foreign.append(r.url) if not r.url.startswith(live) else None)
    page.on("console", lambda m: None if "status of 4" in m.text else complaints.append(m.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    found = []
    for path in (
        "/portal/sign-up/",
        "/portal/password/",
        "/portal/password/over/",
        "/portal/login/",
    ):
        page.goto(f"{live}{path}")
        found += _violations(axe, page)
    sign_in(page, live)
    assert urlsplit(page.url).path == "/portal/"
    for path in paths:
        page.goto(f"{live}{path}")
        for hidden in page.query_selector_all("details"):
            hidden.evaluate("one => { one.open = true }")
        found += _violations(axe, page)
        wider = page.evaluate("document.documentElement.scrollWidth > innerWidth")
        assert not wider, f"{path} is wider than the window"
    assert (found, foreign, complaints) == ([], [], [])


def _violations(axe: Axe, page: Page) -> list[str]:
    results = axe.run(page, options={"runOnly": WCAG}).response
    return [
        f"{urlsplit(page.url).path}: {one['id']}: {node['html'][:160]}"
        for one in results["violations"]
        for node in one["nodes"]
    ]


def test_without_a_script_one_signs_in_uses_the_menu_and_changes_the_theme(
    acme: Customer, chromium: Browser, live: str
) -> None:
    context = chromium.new_context(
        viewport={"width": 320, "height": 800}, java_script_enabled=False
    )
    page = context.new_page()
    sign_in(page, live)
    page.click("button:has-text('Menu')")
    page.click("nav a:has-text('Invoices')")
    assert page.url == f"{live}/portal/invoices/"
    page.click("button:has-text('Menu')")
    page.click("button[value=dark]")
    assert page.get_attribute("html", "data-theme") == "dark"
    page.click("button:has-text('Menu')")
    page.click("button:has-text('Sign out')")
    assert urlsplit(page.url).path == "/portal/login/"
    context.close()


def test_with_a_script_the_theme_changes_in_place_and_is_remembered(
    acme: Customer, chromium: Browser, live: str
) -> None:
    page = chromium.new_page(color_scheme="light")
    sign_in(page, live)
    page.evaluate("window.stayed = true")
    before = _background(page)
    page.click("button[value=dark]")
    assert page.evaluate("window.stayed") is True
    assert _background(page) != before
    page.reload()
    assert page.get_attribute("html", "data-theme") == "dark"


def _background(page: Page) -> str:
    return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))


def test_the_keyboard_reaches_the_content_first_and_shows_where_it_is(
    acme: Customer, chromium: Browser, live: str
) -> None:
    page = chromium.new_page()
    sign_in(page, live)
    page.goto(f"{live}/portal/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
    assert outline == "3px"


def test_a_new_key_is_copied_with_one_click(acme: Customer, chromium: Browser, live: str) -> None:
    context = chromium.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    sign_in(page, live)
    page.goto(f"{live}/portal/developers/")
    page.fill("[name=name]", "ci")
    page.check("input[value='usage:write']")
    page.click("button:has-text('Make the key')")
    page.click("button:has-text('Copy')")
    page.wait_for_selector("button:has-text('Copied')")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert re.fullmatch(r"bk_test_[0-9a-z]{44}", copied)
    context.close()
