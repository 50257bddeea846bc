"""The stand-in for Stripe (apps/sandbox) on a development system, and how its address is known.

`up` starts it and leaves its port in DATA_DIR, so that commands in another terminal talk to it as
the web server does. A real key, another environment or port 0 mean that there is none.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from billing_project.environment import data_dir, read

# Of the form that every client of Stripe accepts; they open nothing anywhere.
KEY = "sk_test_sandboxCountinghouse00000001"
WEBHOOK_SECRET = "whsec_sandboxCountinghouse00000001"  # noqa: S105


def possible() -> bool:
    """Tell whether this system may have a stand-in."""
    return read("ENVIRONMENT") == "development" and not read("STRIPE_SECRET_KEY")


def port() -> int:
    """Return where the stand-in listens; 0 when there is none."""
    if not possible():
        return 0
    if given := read("SANDBOX_PORT"):
        return int(given)
    left = noted_at()
    return int(left.read_text(encoding="ascii") or 0) if left.is_file() else 0


def noted_at() -> Path:
    """Return the file in which `up` leaves the port."""
    return data_dir() / "sandbox.port"


def address(at: int) -> str:
    """Return the base of its API."""
    return f"http://127.0.0.1:{at}/_stripe"


def hosted_pages(key: str, base: str) -> list[str]:
    """Return the origins of the pages on which customers pay; none where nobody pays by card."""
    if not key:
        return []
    if not base:
        return [f"https://{name}.stripe.com" for name in ("checkout", "billing", "invoice")]
    parts = urlsplit(base)
    return [f"{parts.scheme}://{parts.netloc}"]
