"""Countinghouse for product applications: report what is used, so that it is billed once.

    client = countinghouse.Client(api_key="bk_live_…", base_url="https://billing.example.com")
    client.usage.track("ai.request", organization="acme", data={"context_tokens": 812})

Only the standard library is needed. `countinghouse.django`, `countinghouse.asgi`,
`countinghouse.wsgi` and `countinghouse.flask` count the requests of an application.
"""

from __future__ import annotations

from countinghouse.access import AccessOptions, Decision, Reservation, Seat
from countinghouse.client import Client
from countinghouse.delivery import Rejected
from countinghouse.errors import (
    ClientClosed,
    ConnectionFailed,
    CountinghouseError,
    InvalidEvent,
    LicenceError,
    QueueFull,
    Refused,
    SpoolFailed,
    UnexpectedAnswer,
    WebhookInvalid,
)
from countinghouse.requests import Request, RequestTracker, from_header, industries, marked
from countinghouse.usage import Counts, Usage, UsageOptions
from countinghouse.webhooks import WebhookVerifier

__all__ = [
    "AccessOptions",
    "Client",
    "ClientClosed",
    "ConnectionFailed",
    "CountinghouseError",
    "Counts",
    "Decision",
    "InvalidEvent",
    "LicenceError",
    "QueueFull",
    "Refused",
    "Rejected",
    "Request",
    "RequestTracker",
    "Reservation",
    "Seat",
    "SpoolFailed",
    "UnexpectedAnswer",
    "Usage",
    "UsageOptions",
    "WebhookInvalid",
    "WebhookVerifier",
    "from_header",
    "industries",
    "marked",
]
