"""The web server that takes webhooks, with two more addresses.

`/bench/insert` is a view of the default stack that reads the JSON and inserts one row, in the ops
scope's transaction. `/bench/djstripe/<uuid>/` is dj-stripe's own view; what it asks the provider is
answered at once: nothing of a network is measured.
"""

from __future__ import annotations

import json
import os
from typing import Any

import stripe
from django.core.wsgi import get_wsgi_application
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "billing_project.settings")
application = get_wsgi_application()

from djstripe.views import ProcessWebhookView  # noqa: E402 - the settings come first

from apps.core import rls  # noqa: E402
from billing_project import urls  # noqa: E402
from tests.bench.webhooks_there import AtOnce  # noqa: E402


@csrf_exempt
def insert(request: HttpRequest) -> JsonResponse:
    """Insert one row, and answer."""
    told = json.loads(request.body)
    with rls.ops_scope("bench: one row"), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO inserted (key, type, payload) VALUES (%s, %s, %s)",
            [told["id"], told["type"], request.body.decode()],
        )
    return JsonResponse({"received": True})


@csrf_exempt
def inline(request: HttpRequest, uuid: Any) -> HttpResponse:
    """Let dj-stripe take the event, in the scope that may write its tables."""
    with rls.ops_scope("bench: dj-stripe"):
        return VIEW(request, uuid=uuid)  # type: ignore[no-any-return] # it has no types


VIEW: Any = ProcessWebhookView.as_view()
stripe.default_http_client = AtOnce()
urls.urlpatterns.insert(0, path("bench/insert", insert))
urls.urlpatterns.insert(0, path("bench/djstripe/<uuid:uuid>/", inline))
