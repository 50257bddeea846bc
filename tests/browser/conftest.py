"""A live server on a database of the test's own, and a headless Chromium that drives it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.core.wsgi import get_wsgi_application
from playwright.sync_api import Browser, sync_playwright

from apps.core import clock
from tests.worlds import NOW

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
]


class QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing: failures show in the test."""


def at_noon(application: Callable[..., Any]) -> Callable[..., Any]:
    """Run every request at the world's own time."""

    def frozen(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        with clock.frozen(NOW):
            return application(environ, start_response)

    return frozen


@pytest.fixture
def live(committed_db: str, settings: LazySettings) -> Iterator[str]:
    """Serve the test's database; yields the address. Live updates have tests of their own."""
    settings.LIVE_PORT = 0
    server = ThreadedWSGIServer(("127.0.0.1", 0), QuietHandler)
    server.daemon_threads = True
    server.set_app(at_noon(get_wsgi_application()))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def chromium(live: str) -> Iterator[Browser]:
    """A browser that starts after the server and the world, and ends before them."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()
