"""Draws pages: templates of their own, a policy that lets nothing in from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.template import Context, Engine

from apps.sandbox.pages.asking import Visit

Answer = tuple[int, list[tuple[str, str]], bytes]

HERE = Path(__file__).parent
ENGINE = Engine(
    dirs=[str(HERE / "templates")],
    builtins=["apps.sandbox.pages.words"],
)


def show(
    visit: Visit,
    template: str,
    context: Mapping[str, Any],
    *,
    status: int = 200,
    leads_to: Iterable[str | None] = (),
) -> Answer:
    """Return a page. `leads_to` are addresses elsewhere to which its forms may lead in the end."""
    common = {"base": visit.base, "path": visit.place(visit.path), "now": visit.sandbox.now}
    # Without localization: that asks the apps for their languages, and here no app is loaded.
    drawn = Context({**common, **context}, use_l10n=False)
    text = ENGINE.get_template(f"sandbox/{template}.html").render(drawn)
    policy = (
        "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none';"
        f" frame-ancestors 'none'; form-action {' '.join(_targets(leads_to))}"
    )
    headers = [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Security-Policy", policy),
        ("Referrer-Policy", "same-origin"),
        ("X-Content-Type-Options", "nosniff"),
        ("Cache-Control", "no-store"),
    ]
    return status, headers, text.encode()


def _targets(addresses: Iterable[str | None]) -> list[str]:
    """Return where a form may lead: browsers judge the redirects after it, too."""
    found = ["'self'"]
    for address in addresses:
        parts = urlsplit(address or "")
        origin = f"{parts.scheme}://{parts.netloc}"
        if is_web(address) and not set(origin) & set(" ;,'\"") and origin not in found:
            found.append(origin)
    return found


def is_web(address: str | None) -> bool:
    """Tell whether an address of the seller's may become a link: `javascript:` may not."""
    parts = urlsplit(address or "")
    return parts.scheme in {"http", "https"} and bool(parts.netloc)


def go(address: str) -> Answer:
    """Send the visitor on, after a form."""
    return 303, [("Location", address), ("Cache-Control", "no-store")], b""


def styles() -> Answer:
    """Return the style sheet."""
    body = (HERE / "style.css").read_bytes()
    headers = [("Content-Type", "text/css; charset=utf-8"), ("Cache-Control", "no-cache")]
    return 200, headers, body


def pretty(body: object) -> str:
    """Return JSON as people read it."""
    return json.dumps(body, indent=2, ensure_ascii=False)


def moment(instant: int) -> datetime:
    """Return an instant of Stripe's, which counts seconds, as a date and time."""
    return datetime.fromtimestamp(instant, UTC)
