"""Passkeys, by Chromium's own authenticator: made, asked for, a second factor, removed."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.portal import people, world
from tests.portal.world import Customer

pytestmark = pytest.mark.browser


@pytest.fixture
def acme(live: str) -> Customer:
    """A customer with four people and nothing bought."""
    people.forget_attempts()
    return world.make_customer(plan="")


@pytest.fixture
def here(live: str) -> str:
    """The address by its name: a passkey is for a name, and no browser gives it to a number."""
    return live.replace("127.0.0.1", "localhost")


@pytest.fixture
def page(acme: Customer, chromium: Browser) -> Page:
    """A browser whose device verifies its user by itself."""
    page = chromium.new_page()
    device = page.context.new_cdp_session(page)
    device.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    device.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    return page


def sign_in(page: Page, here: str, email: str) -> None:
    page.goto(f"{here}/portal/login/")
    page.fill("[name=username]", email)
    page.fill("[name=password]", world.PASSWORD)
    page.click("main button.primary")


def make_one(page: Page, here: str, name: str = "My laptop") -> None:
    page.goto(f"{here}/portal/security/passkeys/")
    page.fill("[name=name]", name)
    page.click("main button.primary")
    expect(page.locator("h1")).to_have_text("Recovery codes")


def sign_out(page: Page) -> None:
    page.locator("button:has-text('Sign out')").first.click()
    page.wait_for_url("**/portal/login/")


def test_a_passkey_signs_in_alone_and_is_both_factors(
    acme: Customer, page: Page, here: str
) -> None:
    sign_in(page, here, acme.owner.email)
    make_one(page, here)
    sign_out(page)
    page.click("text=Use a passkey")
    page.wait_for_url(re.compile(r"/portal/$"))
    page.goto(f"{here}/portal/security/")
    expect(page.locator("main")).to_contain_text("My laptop")


def test_beside_the_password_it_is_the_second_factor(acme: Customer, page: Page, here: str) -> None:
    sign_in(page, here, acme.owner.email)
    make_one(page, here)
    sign_out(page)
    sign_in(page, here, acme.owner.email)
    expect(page.locator("h1")).to_have_text("One more step")
    page.click("text=Use a passkey")
    page.wait_for_url(re.compile(r"/portal/$"))


def test_one_that_was_removed_opens_nothing(acme: Customer, page: Page, here: str) -> None:
    sign_in(page, here, acme.owner.email)
    make_one(page, here)
    page.goto(f"{here}/portal/security/")
    page.click("tbody summary:has-text('Remove')")
    page.click("tbody button:has-text('Yes, remove')")
    expect(page.locator("main")).not_to_contain_text("My laptop")
    sign_out(page)
    page.click("text=Use a passkey")
    expect(page.locator("[role=alert]")).to_contain_text("not one of this account")


ANSWER = """async () => {
  const asked = await (await fetch("/portal/login/passkey/anybody/")).json();
  const options = PublicKeyCredential.parseRequestOptionsFromJSON(asked.publicKey);
  return JSON.stringify(await navigator.credentials.get({ publicKey: options }));
}"""


def send(page: Page, address: str, answer: str) -> int:
    """Send an answer as the form of the page that is shown would; return the status."""
    token = page.locator("main [name=csrfmiddlewaretoken]").first.input_value()
    form: dict[str, str | float | bool] = {"answer": answer, "csrfmiddlewaretoken": token}
    headers = {"Referer": address}
    return page.request.post(address, form=form, headers=headers, max_redirects=0).status


@pytest.fixture
def guarded(acme: Customer) -> Customer:
    """The owner has an authenticator app."""
    people.with_app(acme.owner, world.NOW)
    return acme


def test_somebody_elses_passkey_is_no_second_factor(
    guarded: Customer, page: Page, here: str
) -> None:
    sign_in(page, here, guarded.users["MEMBER"].email)
    make_one(page, here)
    sign_out(page)
    sign_in(page, here, guarded.owner.email)
    expect(page.locator("h1")).to_have_text("One more step")
    assert page.locator("text=Use a passkey").count() == 0
    assert send(page, f"{here}/portal/login/second/", page.evaluate(ANSWER)) == 422


def test_an_answer_counts_once(acme: Customer, page: Page, here: str) -> None:
    sign_in(page, here, acme.owner.email)
    make_one(page, here)
    sign_out(page)
    answer = page.evaluate(ANSWER)
    assert send(page, f"{here}/portal/login/", answer) == 302
    page.goto(f"{here}/portal/security/")
    sign_out(page)
    assert send(page, f"{here}/portal/login/", answer) == 422
