"""The demo world's later customers: each shows one thing that an invoice can do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

from apps.core.actor import Actor
from apps.invoicing import services as invoicing
from apps.subscriptions import services as subscriptions
from apps.subscriptions.facts import SubscriptionFacts
from apps.tenants import services as tenants
from apps.tenants.models import Organization

CATALOG = Path(__file__).resolve().parent / "showcase.yaml"
EUROPE = "europe"


class Teller(Protocol):
    """What an act of the story needs of whoever tells it."""

    actor: Actor

    def subscribe(
        self, organization: Organization, plan: str, *, start: datetime, **chosen: Any
    ) -> SubscriptionFacts:
        """Subscribe at the start itself."""

    def ago(self, organization: Organization, *, months: int = 0, days: int = 0) -> datetime:
        """Return a local midnight so many months and days back."""


@dataclass(frozen=True, slots=True)
class Customer:
    """An organization of the story; `terms` and `issuer` say how it is billed."""

    slug: str
    name: str
    timezone: str
    country: str
    locale: str
    industry: str
    address: str
    currency: str = "USD"
    tax_id: str = ""
    issuer: str = ""


CUSTOMERS: tuple[Customer, ...] = (
    Customer(
        "wonka", "Wonka Maps Inc.", "America/New_York", "US", "en", "", "7 Cherry St\nBoston, MA"
    ),
    Customer(
        "moulin", "Moulin SARL", "Europe/Paris", "FR", "fr", "", "12 rue des Moulins\n75001 Paris",
        currency="EUR", tax_id="FR40303265045", issuer=EUROPE,
    ),
    Customer(
        "lindenhof", "Lindenhof KG", "Europe/Berlin", "DE", "de", "", "Lindenallee 3\n50667 Köln",
        currency="EUR", issuer=EUROPE,
    ),
    Customer(
        "nakatomi", "Nakatomi KK", "Asia/Tokyo", "JP", "en", "", "2-11-1 Minato\nTokyo 105-0011",
        currency="JPY",
    ),
    Customer("vandelay", "Vandelay Industries", "UTC", "US", "en", "", "129 W 81st St\nNew York"),
    Customer("monarch", "Monarch Surveys", "UTC", "US", "en", "", "1 Canyon Road\nMoab, UT"),
    Customer("mercy", "Mercy Hospital", "UTC", "US", "en", "hs", "9 Hill Road\nPortland, OR"),
)  # fmt: skip


def issuers(teller: Teller, at: datetime) -> None:
    """Define the issuer of the European customers."""
    tenants.define_billing_entity(
        EUROPE,
        legal_name="Countinghouse Europe GmbH",
        invoice_prefix="CE",
        country="DE",
        tax_id="DE136695976",
        address="Speicherstr. 1",
        city="Hamburg",
        postcode="20457",
        tax_registrations={"DE": "DE136695976"},
        actor=teller.actor,
        at=at,
    )


def _wonka(teller: Teller, wonka: Organization) -> list[SubscriptionFacts]:
    """A promotion code for three months, and an add-on since the second."""
    start = teller.ago(wonka, months=1, days=12)
    team = teller.subscribe(wonka, "atlas-team", start=start, seats=6)
    subscriptions.apply_discount(
        wonka.pk,
        code="WELCOME20",
        subscription_id=team.public_id,
        actor=teller.actor,
        at=start,
    )
    subscriptions.add_item(
        team.public_id,
        plan="atlas-priority",
        actor=teller.actor,
        at=start + timedelta(days=20),
    )
    return [team]


def _moulin(teller: Teller, moulin: Organization) -> list[SubscriptionFacts]:
    """A business in another member state: it accounts for the tax itself."""
    start = teller.ago(moulin, months=1, days=8)
    return [teller.subscribe(moulin, "atlas-team", start=start, seats=4)]


def _lindenhof(teller: Teller, lindenhof: Organization) -> list[SubscriptionFacts]:
    """A customer at home, taxed at 19 %, whose every invoice is reviewed first."""
    tenants.change_billing_terms(
        lindenhof.pk,
        changes={"invoice_hold": True},
        actor=teller.actor,
        at=teller.ago(lindenhof, days=4),
    )
    return [teller.subscribe(lindenhof, "atlas-team", start=teller.ago(lindenhof, days=3), seats=3)]


def _nakatomi(teller: Teller, nakatomi: Organization) -> list[SubscriptionFacts]:
    """A currency without decimals."""
    start = teller.ago(nakatomi, months=1, days=6)
    return [teller.subscribe(nakatomi, "atlas-team", start=start, seats=10)]


def _vandelay(teller: Teller, vandelay: Organization) -> list[SubscriptionFacts]:
    """Credit that the second invoice uses up, and a single charge on the next one."""
    start = teller.ago(vandelay, months=1, days=10)
    invoicing.grant_credit(
        vandelay.pk, amount=Decimal("150.00"), source="demo", actor=teller.actor, at=start
    )
    team = teller.subscribe(vandelay, "atlas-team", start=start, seats=2)
    invoicing.add_charge(
        vandelay.pk,
        new=invoicing.NewCharge(name="Training day", unit_amount=Decimal("950.00")),
        actor=teller.actor,
        at=teller.ago(vandelay, days=2),
    )
    return [team]


def _monarch(teller: Teller, monarch: Organization) -> list[SubscriptionFacts]:
    """Usage that is billed within its month, as soon as it comes to so much."""
    return [teller.subscribe(monarch, "atlas-metered", start=teller.ago(monarch, days=9))]


def _mercy(teller: Teller, mercy: Organization) -> list[SubscriptionFacts]:
    """Eight seats of HealOS, tried for two weeks and due since; `seating` says who sits there.

    `cards` has the invoices charged where there is a provider. The agreement itself is not
    collected by card: a trial that ends with nobody to charge would pause it.
    """
    start = teller.ago(mercy, months=2, days=3)
    return [teller.subscribe(mercy, "healos-team", start=start, seats=8)]


AGREEMENTS: dict[str, Callable[[Teller, Organization], list[SubscriptionFacts]]] = {
    "wonka": _wonka,
    "moulin": _moulin,
    "lindenhof": _lindenhof,
    "nakatomi": _nakatomi,
    "vandelay": _vandelay,
    "monarch": _monarch,
    "mercy": _mercy,
}
