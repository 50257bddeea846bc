"""Proving the books: recompute every final invoice from stored facts and show what differs."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from apps.backoffice.access import actor_of
from apps.core.actor import require
from apps.invoicing import books


def page(context: dict[str, Any], request: HttpRequest) -> HttpResponse:
    """Say what the proof covers; on POST, make it and show the findings. It changes nothing."""
    require("view_invoices", actor=actor_of(request))
    shown = {**context, "title": "Books", "waiting": books.count(), "result": None}
    if request.method == "POST":
        shown["result"] = books.verify()
    return TemplateResponse(request, "admin/backoffice/books.html", shown)
