"""Countinghouse for product applications: report what is used, so that it is billed once.

    client = countinghouse.Client(api_key="bk_live_…", base_url="https://billing.example.com")
    client.usage.track("ai.request", organization="acme", data={"context_tokens": 812})

Only the standard library is needed. `countinghouse.django`, `countinghouse.asgi`,
`countinghouse.wsgi` and `countinghouse.flask` count the requests of an application.
"""

from __future__ import annotations

from countinghouse.client import Client
from countinghouse.delivery import Rejected
from countinghouse.errors import (
    ClientClosed,
    ConnectionFailed,
    CountinghouseError,
    InvalidEvent,
    QueueFull,
    SpoolFailed,
    UnexpectedAnswer,
)
from countinghouse.requests import Request, RequestTracker, from_header, industries, marked
from countinghouse.usage import Counts, Usage, UsageOptions

__all__ = [
    "Client",
    "ClientClosed",
    "ConnectionFailed",
    "CountinghouseError",
    "Counts",
    "InvalidEvent",
    "QueueFull",
    "Rejected",
    "Request",
    "RequestTracker",
    "SpoolFailed",
    "UnexpectedAnswer",
    "Usage",
    "UsageOptions",
    "from_header",
    "industries",
    "marked",
]
