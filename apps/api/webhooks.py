"""Where the payment provider tells what happened: stored and acknowledged, and nothing else.

The body counts as the bytes that came: they are what is signed. It is no operation for clients, so
the document of the API does not list it; see docs/stripe.md.
"""

from __future__ import annotations

from django.http import HttpRequest

from apps.api.admission import Admission
from apps.api.intake import Answer
from apps.api.reading import limited_body
from apps.core import clock
from apps.payments import services


def take_event(request: HttpRequest, _: Admission, *, endpoint: str = "") -> Answer:
    """Answer 200 once the event is stored, now or before; nobody but the provider signs one.

    `endpoint` is the uuid of an endpoint that dj-stripe made, whose secret counts then.
    """
    body = limited_body(request, limit=services.LARGEST_EVENT)
    signed = str(request.META.get("HTTP_STRIPE_SIGNATURE", ""))
    is_new = services.receive_event(body, header=signed, at=clock.now(), endpoint=endpoint)
    return Answer(200, {"received": True, "duplicate": not is_new})
