"""The real thing: web server, live process and Chromium, and events over HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.conftest import CHROMIUM, FLAGS
from tests.live.processes import Servers, servers
from tests.worlds import PASSWORD, load_catalog, make_customer, make_key, subscribe

pytestmark = [pytest.mark.browser, pytest.mark.committed]
PATIENCE = 30_000  # milliseconds: shared machines are slow, and the bench measures how fast


@pytest.fixture
def running(committed_db: str) -> Iterator[Servers]:
    with servers() as found:
        yield found


@pytest.fixture
def key(running: Servers) -> str:
    """A customer of this month, and a key that sends its events."""
    load_catalog("gateway")
    organization, _ = make_customer("acme")
    month = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    subscribe(organization, "gateway", start=month)
    return make_key(organization, ["usage:write"])


@pytest.fixture
def chromium(key: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def send(running: Servers, key: str, name: str) -> None:
    """Send one request of 1,234 tokens by the API; returns after the answer."""
    told = {
        "specversion": "1.0",
        "id": name,
        "source": "test",
        "type": "ai.request",
        "time": datetime.now(UTC).isoformat(),
        "data": {"context_tokens": 1234, "generated_tokens": 1},
    }
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/cloudevents+json"}
    request = Request(f"{running.web}/api/v1/events", json.dumps(told).encode(), headers)
    with urlopen(request, timeout=30) as answer:
        assert answer.status == 200


def open_usage(browser: Browser, running: Servers, path: str = "/portal/usage/") -> Page:
    page = browser.new_page(viewport={"width": 320, "height": 900})
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{running.web}/portal/login/")
    page.fill("[name=username]", "owner@acme.example")
    page.fill("[name=password]", PASSWORD)
    page.click("main button:has-text('Sign in')")
    page.goto(f"{running.web}{path}")
    expect(page.locator(".live")).to_have_text("Live", timeout=PATIENCE)
    assert complaints == []
    return page


@pytest.mark.parametrize("path", ["/portal/usage/", "/portal/"])
def test_an_event_moves_the_page_it_is_shown_on(
    running: Servers, key: str, chromium: Browser, path: str
) -> None:
    page = open_usage(chromium, running, path)
    tokens = page.locator("[data-usage$=':context_tokens'] [data-figure=quantity]")
    expect(tokens).to_have_text("0")
    page.evaluate("window.stayed = true")
    send(running, key, "first")
    begun = time.monotonic()
    expect(tokens).to_have_text("1,234", timeout=PATIENCE)
    print(f"\nseen after {1000 * (time.monotonic() - begun):.0f} ms on {path}")
    left = page.locator("[data-usage$=':ai_requests'] .gauge-foot")
    expect(left).to_contain_text("4,999 of 5,000 included left", timeout=PATIENCE)
    assert page.evaluate("window.stayed") is True


def test_a_killed_process_loses_and_doubles_nothing(
    running: Servers, key: str, chromium: Browser
) -> None:
    page = open_usage(chromium, running)
    requests = page.locator("[data-usage$=':ai_requests'] [data-figure=quantity]")
    for number in range(3):
        send(running, key, f"event-{number}")
        running.kill_live()
        expect(page.locator(".live")).to_have_text("Reconnecting …", timeout=PATIENCE)
        send(running, key, f"event-{number}-while-it-was-dead")
        running.start_live()
        expect(requests).to_have_text(str(2 * number + 2), timeout=PATIENCE)
        expect(page.locator(".live")).to_have_text("Live", timeout=PATIENCE)
