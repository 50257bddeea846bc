"""The portal's sections, each with who sees it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from apps.core.actor import Actor


@dataclass(frozen=True, slots=True)
class Section:
    """A section: its page, its icon, and the capability without which it is not shown."""

    name: str
    label: str | Promise
    icon: str
    capability: str
    address: str


@dataclass(frozen=True, slots=True)
class Item:
    """A section as the navigation shows it."""

    label: str | Promise
    icon: str
    url: str
    active: bool


SECTIONS = (
    Section("overview", _("Overview"), "home", "view_usage", "portal:overview"),
    Section("usage", _("Usage"), "chart", "view_usage", "portal:usage"),
    Section("alerts", _("Alerts"), "alert", "view_invoices", "portal:alerts"),
    Section("plan", _("Plan"), "layers", "manage_billing", "portal:plan"),
    Section("seats", _("Seats"), "check", "assign_seats", "portal:people"),
    Section("invoices", _("Invoices"), "receipt", "view_invoices", "portal:invoices"),
    Section("payment", _("Payment"), "card", "manage_billing", "portal:payment"),
    Section("credit", _("Credit"), "wallet", "view_invoices", "portal:credit"),
    Section("details", _("Billing details"), "building", "manage_organization", "portal:details"),
    Section("licences", _("Licences"), "licence", "view_licences", "portal:licences"),
    Section("team", _("Team"), "people", "view_members", "portal:team"),
    Section("developers", _("Developers"), "key", "manage_api_keys", "portal:developers"),
    Section("security", _("Security"), "lock", "use_seat", "portal:security"),
    Section("activity", _("Activity"), "clock", "view_audit", "portal:activity"),
)


def items(actor: Actor, current: str) -> Iterator[Item]:
    """Yield what the actor may see, the current section marked."""
    for section in SECTIONS:
        hidden = section.name == "activity" and not settings.ENABLE_AUDIT_LOG
        if actor.may(section.capability) and not hidden:
            url = reverse(section.address)
            yield Item(section.label, section.icon, url, section.name == current)
