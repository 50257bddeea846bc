"""The pages for developers in a browser: all they show comes from here."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import chromium, live  # noqa: F401 - fixtures

SHOWN = {
    "/api/docs": "Sign in by password",  # what is further down is drawn when it is scrolled to
    "/api/redoc": "Send usage events",
    "/api/errors": "already_billed",
}


@pytest.mark.parametrize("path", list(SHOWN))
def test_a_page_asks_nothing_of_anybody_else(
    chromium: Browser,  # noqa: F811
    live: str,  # noqa: F811
    path: str,
) -> None:
    page = chromium.new_page()
    asked: list[str] = []
    failed: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("response", lambda answer: failed.append(answer.url) if answer.status >= 400 else None)
    page.on("console", lambda said: failed.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: failed.append(str(error)))
    page.goto(live + path)
    page.get_by_text(SHOWN[path]).first.wait_for(state="attached")
    page.wait_for_load_state("networkidle")
    assert failed == []
    assert [url for url in asked if not url.startswith((f"{live}/", "data:", "blob:"))] == []
    assert [url for url in asked if url.endswith("/favicon.ico")] == []
    assert page.get_by_alt_text("redocly logo").count() == 0
