"""What every template may use, under one name: `portal`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.translation import get_language

from apps.core import live
from apps.core.actor import Actor
from apps.portal.access import rule_of
from apps.portal.formats import Formats
from apps.portal.navigation import Item, items
from apps.portal.theme import theme_of

if TYPE_CHECKING:
    from apps.tenants.models import Organization


@dataclass(frozen=True, slots=True)
class Portal:
    """The page's surroundings; `organization` and `actor` are None outside a member's pages.

    `live` is where the page listens for what moves.
    """

    brand: str
    theme: str
    language: str
    formats: Formats
    navigation: tuple[Item, ...]
    organization: Organization | None
    actor: Actor | None
    organizations: int
    live: str

    @property
    def layout(self) -> str:
        """What a person's own pages stand in: a member's surroundings, or none."""
        return "portal/alone.html" if self.organization is None else "portal/shell.html"

    @property
    def may(self) -> frozenset[str]:
        """What the member may do, for pages that show more to some."""
        return frozenset() if self.actor is None else self.actor.capabilities


def portal(request: HttpRequest) -> dict[str, Any]:
    """Return the surroundings; touches neither the session nor the database."""
    organization: Organization | None = getattr(request, "organization", None)
    actor: Actor | None = getattr(request, "actor", None) if organization else None
    match = request.resolver_match
    section = rule_of(match.func).section if match else ""
    return {
        "portal": Portal(
            brand=settings.BRAND_NAME,
            theme=theme_of(request),
            language=get_language() or settings.LANGUAGE_CODE,
            formats=getattr(request, "formats", Formats()),
            navigation=() if actor is None else tuple(items(actor, section)),
            organization=organization,
            actor=actor,
            organizations=len(getattr(request, "belongings", ())),
            live=live.address(request, organization.public_id) if organization else "",
        )
    }
