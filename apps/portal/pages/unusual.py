"""Unusual usage: what the usage page shows of it, and that somebody has seen it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _

from apps.notifications import watching
from apps.portal.access import PortalRequest, page
from apps.subscriptions import selectors as subscriptions
from apps.watch import selectors, services

if TYPE_CHECKING:
    from apps.watch.models import Anomaly

SHOWN_FOR = timedelta(days=7)
MOST_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Unusual:
    """An anomaly, what it says, and what most of it is of."""

    row: Anomaly
    sentence: str
    cause: str


def unusual(request: PortalRequest) -> Iterator[Unusual]:
    """Yield what was unusual in the last days, newest first, but for what staff ignored."""
    words = request.formats.words()
    since = request.at - SHOWN_FOR
    rows = selectors.anomalies_of(request.organization.pk, since=since, limit=MOST_SHOWN)
    names = subscriptions.meter_names(request.organization.pk) if rows else {}
    for row in rows:
        if row.status != "ignored":
            name = watching.name_of(row.meter, names)
            yield Unusual(row, watching.of_anomaly(row, words, name), watching.cause_of(row, words))


@page("usage", "manage_billing", methods=("POST",))
def acknowledge(request: PortalRequest, anomaly: str) -> HttpResponse:
    """Say that unusual usage was seen."""
    services.acknowledge_anomaly(anomaly, actor=request.actor, at=request.at)
    messages.success(request, _("Noted: you have seen it."))
    return redirect("portal:usage")
