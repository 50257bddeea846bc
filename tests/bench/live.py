"""`live_seen` and `live_look`: how fast a page moves, and what asking for everybody costs.

`live_seen` sends events one by one over HTTP and waits for each until it stands in a browser's
page; its limit does not look at the page. `live_look` asks of whom, of 1,000 organizations with
listeners, anything came; its limit asks nothing, and the typical implementation asks for each
organization.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from functools import partial
from itertools import count
from urllib.request import Request, urlopen

from django.db import connection
from playwright.sync_api import Page, sync_playwright

from apps.core import rls
from apps.core.snapshots import Snapshot
from apps.live import reading
from apps.usage import selectors as usage
from apps.usage.models import Event
from tests.bench.timing import Result, rate, result
from tests.browser.conftest import CHROMIUM, FLAGS
from tests.live.processes import Servers, servers
from tests.worlds import PASSWORD, load_catalog, make_customer, make_key, subscribe

EVENTS, LOOKS, LISTENED_TO, ROUNDS = 5, 20, 1000, 7
SHOWN = "[data-usage$=':ai_requests'] [data-figure=quantity]"
_numbers = count(1)


def measure() -> list[Result]:
    """Watch a page, and look at many organizations."""
    key = _customer()
    with servers() as running, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = _usage_page(browser.new_page(), running)
        seen, sent = [], []
        for _ in range(ROUNDS):
            seen.append(_one_by_one(running, key, page))
            sent.append(_one_by_one(running, key, None))
        browser.close()
    return [result("live_seen", "events/s, one by one", seen, sent), _looks()]


def _customer() -> str:
    load_catalog("gateway")
    organization, _ = make_customer("acme")
    month = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    subscribe(organization, "gateway", start=month)
    return make_key(organization, ["usage:write"])


def _usage_page(page: Page, running: Servers) -> Page:
    page.goto(f"{running.web}/portal/login/")
    page.fill("[name=username]", "owner@acme.example")
    page.fill("[name=password]", PASSWORD)
    page.click("main button:has-text('Sign in')")
    page.goto(f"{running.web}/portal/usage/")
    page.wait_for_selector(".live[data-state=on]")
    return page


def _one_by_one(running: Servers, key: str, page: Page | None) -> float:
    """Return how many events a second are sent, and seen on the page if there is one."""
    spent = 0.0
    for _ in range(EVENTS):
        begun = time.perf_counter()
        number = _send(running, key)
        if page is not None:
            page.wait_for_function(
                "([place, shown]) => document.querySelector(place).textContent === shown",
                arg=[SHOWN, f"{number:,}"],
            )
        spent += time.perf_counter() - begun
        time.sleep(0.01 * (number * 17 % 50))  # not in step with the looks
    return EVENTS / spent


def _send(running: Servers, key: str) -> int:
    number = next(_numbers)
    told = {
        "specversion": "1.0",
        "id": f"bench-{number}",
        "source": "bench",
        "type": "ai.request",
        "time": datetime.now(UTC).isoformat(),
        "data": {"context_tokens": 1, "generated_tokens": 1},
    }
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/cloudevents+json"}
    request = Request(f"{running.web}/api/v1/events", json.dumps(told).encode(), headers)
    with urlopen(request, timeout=30) as answer:
        assert answer.status == 200
    return number


def _looks() -> Result:
    with rls.ops_scope("bench: where things stand"):
        now = usage.pulse({}).snapshot
        last = Event.objects.order_by("-id").values_list("id", flat=True).first() or 0
    seen = dict.fromkeys(range(1, LISTENED_TO + 1), now)
    ours, limits, typical = [], [], []
    for _ in range(ROUNDS):
        ours.append(rate(LOOKS, partial(_look, seen)))
        limits.append(rate(LOOKS, _nothing))
        typical.append(rate(1, partial(_each, last)))
    return result("live_look", "looks/s at 1,000 organizations", ours, limits, typical)


def _look(seen: dict[int, Snapshot]) -> None:
    for _ in range(LOOKS):
        _, changed = reading.look(seen)
        assert not changed


def _nothing() -> None:
    for _ in range(LOOKS):
        with rls.ops_scope("bench: nothing"), connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            cursor.fetchall()


def _each(last: int) -> None:
    with rls.ops_scope("bench: each organization"):
        for organization_id in range(1, LISTENED_TO + 1):
            Event.objects.filter(organization_id=organization_id, id__gt=last).exists()
