"""Activity: who did what in this organization."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

from apps.audit import selectors as audit
from apps.audit.selectors import Entry
from apps.portal import words
from apps.portal.access import PortalRequest, page
from apps.portal.formats import Formats
from apps.portal.words import action_words, full_name
from apps.subscriptions import selectors as subscriptions
from apps.tenants import selectors as tenants

PAGE = 30
VALUES = {
    "role": words.ROLES,
    "status": words.SUBSCRIPTION_STATUSES,
    "scopes": words.SCOPES,
}


@dataclass(frozen=True, slots=True)
class Act:
    """An entry as people read it."""

    entry: Entry
    words: str
    who: str
    changes: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Told:
    """Names for the ids in the record: it holds none, so that identity can be erased."""

    users: Mapping[str, str]
    members: Mapping[str, str]
    plans: Mapping[str, str]
    formats: Formats

    @classmethod
    def of(cls, request: PortalRequest, entries: Sequence[Entry]) -> Told:
        """Read the names of those who are still here, and of the plans the entries tell of."""
        members = tenants.members(request.organization.pk)
        return cls(
            users={row.user.public_id: row.user.get_full_name() for row in members},
            members={row.public_id: row.user.get_full_name() for row in members},
            plans=_plans(request.organization.pk, entries),
            formats=request.formats,
        )


@page("activity", "view_audit")
def activity(request: PortalRequest) -> HttpResponse:
    """List the organization's record, newest first; hidden where the installation hides it."""
    if not settings.ENABLE_AUDIT_LOG:
        raise Http404
    before = request.GET.get("before", "")
    entries = audit.latest(request.organization.pk, limit=PAGE + 1, before=before)
    told = Told.of(request, entries)
    context = {
        "acts": [_act(entry, told) for entry in entries[:PAGE]],
        "next": entries[PAGE - 1].id if len(entries) > PAGE else "",
        "is_first": not before,
    }
    return render(request, "portal/activity.html", context)


def _plans(organization_id: int, entries: Sequence[Entry]) -> dict[str, str]:
    if not any("plan" in entry.after for entry in entries):
        return {}
    found = subscriptions.summaries(organization_id)
    return {one.version_public_id: full_name(one) for one in found}


def _act(entry: Entry, told: Told) -> Act:
    return Act(entry, action_words(entry.action), _who(entry, told), tuple(_changes(entry, told)))


def _who(entry: Entry, told: Told) -> str:
    if entry.action == "member.joined" and entry.target in told.members:
        return told.members[entry.target]
    name = told.users.get(entry.actor_id)
    if name is None and entry.actor in words.ROLES:
        return _("%(role)s, no longer in the team") % {"role": words.role_words(entry.actor)}
    return name or entry.actor


def _changes(entry: Entry, told: Told) -> Iterator[tuple[str, str, str]]:
    """Yield what changed; a pair that is the same before and after says nothing."""
    if entry.target in told.members and entry.action != "member.joined":
        yield str(words.FIELDS["person"]), "", told.members[entry.target]
    keys = {*entry.before, *entry.after}
    if "amount" in keys:
        keys.discard("currency")  # it stands with the amount
    for key in sorted(keys):
        before, after = (_written(key, held, told) for held in (entry.before, entry.after))
        if before != after:
            yield str(words.FIELDS.get(key, key)), before, after


def _written(key: str, held: dict[str, Any], told: Told) -> str:
    """Write a value of the record: amounts with their currency, roles and states in words."""
    value = held.get(key)
    if value is None:
        return ""
    match key:
        case "amount" if "currency" in held:
            return told.formats.money(int(value), str(held["currency"]))
        case "quantity":
            return told.formats.number(str(value))
        case "cancel_at":
            return told.formats.day(datetime.fromisoformat(value))
        case "plan":
            return told.plans.get(value, str(value))
        case _:
            values = value if isinstance(value, list) else [value]
            return ", ".join(str(VALUES.get(key, {}).get(str(one), one)) for one in values)
