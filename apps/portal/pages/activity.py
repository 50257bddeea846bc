"""Activity: who did what in this organization."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import Http404, HttpResponse
from django.shortcuts import render

from apps.audit import selectors as audit
from apps.audit.selectors import Entry
from apps.portal.access import PortalRequest, page
from apps.portal.words import action_words
from apps.tenants import selectors as tenants

PAGE = 30


@dataclass(frozen=True, slots=True)
class Act:
    """An entry as people read it."""

    entry: Entry
    words: str
    who: str
    changes: tuple[tuple[str, str, str], ...]


@page("activity", "view_audit")
def activity(request: PortalRequest) -> HttpResponse:
    """List the organization's record, newest first; hidden where the installation hides it."""
    if not settings.ENABLE_AUDIT_LOG:
        raise Http404
    before = request.GET.get("before", "")
    entries = audit.latest(request.organization.pk, limit=PAGE + 1, before=before)
    # The record itself holds no names: identity can be erased, what was done cannot.
    names = {
        member.user.public_id: member.user.get_full_name()
        for member in tenants.members(request.organization.pk)
    }
    context = {
        "acts": [_act(entry, names) for entry in entries[:PAGE]],
        "next": entries[PAGE - 1].id if len(entries) > PAGE else "",
        "is_first": not before,
    }
    return render(request, "portal/activity.html", context)


def _act(entry: Entry, names: dict[str, str]) -> Act:
    who = names.get(entry.actor_id, entry.actor)
    return Act(entry, action_words(entry.action), who, tuple(_changes(entry)))


def _changes(entry: Entry) -> Iterator[tuple[str, str, str]]:
    for key in sorted({*entry.before, *entry.after}):
        yield key, _written(entry.before.get(key)), _written(entry.after.get(key))


def _written(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(part) for part in value)
    return "" if value is None else str(value)
