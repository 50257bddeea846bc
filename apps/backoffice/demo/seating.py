"""Who sits where in the demo world: a hospital that a product asks about, and a sales team."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from apps.backoffice.demo.people import PASSWORD
from apps.core.actor import Actor
from apps.seats import services
from apps.subscriptions import selectors as agreements
from apps.subscriptions.selectors import SubscriptionFacts
from apps.tenants import services as tenants
from apps.tenants.models import Organization, User

APPLICATION, HOSPITAL = "healos", "hospital_456"
NURSES = ("Nora Night", "Dan Dayes", "Rita Rounds", "Cora Chart", "Paul Pulse", "Vera Vital")
FIRST_ID = 123  # what HealOS calls its people: user_123 and so on
IDLE = 2
"""How many of the nurses were not seen for more than 30 days."""
DIALERS = ("owner@acme.example", "admin@acme.example", "member@acme.example")


def seat(new: Mapping[str, Organization], *, actor: Actor, at: datetime) -> int:
    """Give the people of new organizations their seats; return how many. Needs the ops scope."""
    seated = _hospital(new["mercy"], actor, at) if "mercy" in new else 0
    if "acme" in new:
        calls = _subscription(new["acme"], "powerdialer")
        for person in (*DIALERS, "dialer@acme.example"):
            services.assign_seat(calls.public_id, person=person, actor=actor, at=at)
            seated += 1
    return seated


def _hospital(mercy: Organization, actor: Actor, at: datetime) -> int:
    """Six nurses, whom HealOS knows by ids of its own; two of them have stayed away."""
    tenants.map_external_id(
        mercy.pk, application=APPLICATION, external_id=HOSPITAL, actor=actor, at=at
    )
    facts, seen = _subscription(mercy, APPLICATION), {}
    for number, name in enumerate(NURSES):
        user = _nurse(mercy, name, actor, at)
        tenants.map_external_user(
            mercy.pk,
            application=APPLICATION,
            external_id=f"user_{FIRST_ID + number}",
            user_id=user.pk,
            actor=actor,
            at=at,
        )
        given = services.assign_seat(
            facts.public_id, person=user.public_id, actor=actor, at=at - timedelta(days=40)
        )
        stays_away = number >= len(NURSES) - IDLE
        seen[given.pk] = at - timedelta(days=35 if stays_away else number, hours=1)
    services.note_seen(seen)
    return len(NURSES)


def _nurse(mercy: Organization, name: str, actor: Actor, at: datetime) -> User:
    email = f"{name.split()[0].lower()}@mercy.example"
    user = tenants.create_user(email, password=PASSWORD, name=name, actor=actor, at=at)
    tenants.add_member(mercy.pk, user_id=user.pk, role="MEMBER", actor=actor, at=at)
    return user


def _subscription(owner: Organization, application: str) -> SubscriptionFacts:
    live = agreements.of_organization(owner.pk, live=True)
    return next(one for one in live if one.version.application_slug == application)
