"""The addresses at which the payment provider's events arrive, for whoever resolves them."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from apps.api.lean import TAKE_EVENT, Operation, serve
from apps.api.webhooks import take_event


@csrf_exempt
@require_POST
def of_system(request: HttpRequest) -> HttpResponse:
    """Take an event; the lean path is faster and does the same."""
    return serve(request, TAKE_EVENT)


@csrf_exempt
@require_POST
def of_endpoint(request: HttpRequest, endpoint: UUID) -> HttpResponse:
    """Take an event at the address that dj-stripe gives to an endpoint which it made."""
    return serve(request, Operation("", partial(take_event, endpoint=str(endpoint))))
