"""Where the live process is: pages say it to the browser, and nothing else knows."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest
from django.http.request import split_domain_port


def address(request: HttpRequest, organization: str) -> str:
    """Return where a page listens to an organization (its public id); "" where nobody listens.

    Without LIVE_URL it is another port of whatever host the browser came to, which gets the same
    cookie.
    """
    base = settings.LIVE_URL
    if not (base or settings.LIVE_PORT):
        return ""
    if not base:
        host, _ = split_domain_port(request.get_host())
        base = f"{request.scheme}://{host}:{settings.LIVE_PORT}"
    return f"{base}/ws/org/{organization}"
