"""Credit that invoices use up: granted, bought, withdrawn, expired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction

from apps.audit import services as audit
from apps.core import outbox, rls
from apps.core.actor import Actor, require
from apps.core.amounts import said_amount
from apps.core.errors import Invalid
from apps.engine.money import Money
from apps.invoicing import credit
from apps.invoicing.composition import CREDIT_PURCHASE
from apps.invoicing.errors import CreditSpent
from apps.invoicing.events import CreditEnded, CreditGranted
from apps.invoicing.models import CreditGrant, CreditMovement, Invoice
from apps.invoicing.services.booking import CREDIT, REVENUE, Movement, book
from apps.invoicing.services.finding import money
from apps.invoicing.services.lowness import Spender, tell_low
from apps.invoicing.services.sources import clean, refuse_other_terms
from apps.tenants import selectors as tenant_selectors
from apps.tenants import services as tenants

Kind = CreditGrant.Kind
PRIORITIES = range(101)
# What staff give away, and what they owe; bought credit comes from a paid invoice.
GIVEN = (Kind.PROMOTIONAL, Kind.REFUND)


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantTerms:
    """How credit may be used: the lowest `priority` first, until `expires_at`, for lines of these
    kinds (`advance`, `arrears`, `one_off`, …) and of these prices (keys); none means every one.
    """

    name: str = ""
    priority: int = 50
    expires_at: datetime | None = None
    line_kinds: Sequence[str] = ()
    price_keys: Sequence[str] = ()

    def check(self, at: datetime) -> None:
        """Raise Invalid for terms that nobody can mean."""
        if self.priority not in PRIORITIES:
            raise Invalid("A priority is a number from 0 to 100.", param="priority")
        if self.expires_at is not None and self.expires_at <= at:
            raise Invalid("Credit cannot have expired before it is there.", param="expires_at")
        if CREDIT_PURCHASE in self.line_kinds:
            raise Invalid("Credit does not buy credit.", param="line_kinds")

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON; `of_dict` reads it again."""
        return {
            "name": self.name.strip()[:200],
            "priority": self.priority,
            "expires_at": None if self.expires_at is None else self.expires_at.isoformat(),
            "line_kinds": sorted(set(self.line_kinds)),
            "price_keys": sorted(set(self.price_keys)),
        }

    @classmethod
    def of_dict(cls, said: Mapping[str, Any]) -> GrantTerms:
        """Return the terms that `as_dict` said."""
        ends = said["expires_at"]
        return cls(
            name=said["name"],
            priority=said["priority"],
            expires_at=None if ends is None else datetime.fromisoformat(ends),
            line_kinds=tuple(said["line_kinds"]),
            price_keys=tuple(said["price_keys"]),
        )


@transaction.atomic
def grant_credit(
    organization_id: int,
    *,
    amount: Decimal,
    actor: Actor,
    at: datetime,
    kind: str = Kind.PROMOTIONAL,
    currency: str = "",
    terms: GrantTerms | None = None,
    source: str = "",
) -> CreditGrant:
    """Give an organization credit, in major units: `promotional`, or a `refund` that we owe.

    A promotion costs when it is used; what we owe lowers revenue now (without tax: where tax has to
    go back too, issue a credit note). Of the same `source` the grant that is there is returned.
    Emits CreditGranted. Raises Invalid, Forbidden, and Conflict for a `source` with other terms.
    """
    require("manage_invoices", actor=actor, organization_id=organization_id)
    organization = tenants.lock(organization_id)
    if kind not in GIVEN:
        raise Invalid(
            "Staff grant promotional or refund credit; buy_credit sells it.", param="kind"
        )
    terms = terms or GrantTerms()
    given, source = amount_of(amount, currency or organization.currency), clean(source)
    known = CreditGrant.objects.filter(organization_id=organization_id, source=source).first()
    if source and known is not None:
        refuse_other_terms(known, _columns(kind, given, terms))
        return known
    terms.check(at)
    row = _create(
        organization_id,
        kind=kind,
        amount=given,
        terms=terms,
        source=source,
        actor=actor,
        at=at,
    )
    if row.is_funded:
        moved = {REVENUE: row.amount, CREDIT: -row.amount}
        book(Movement(organization_id, row.currency, row.public_id, "granted", at, moved))
    return row


def amount_of(amount: Decimal, currency: str) -> Money:
    """Return an amount in major units as money that is more than nothing, or raise Invalid."""
    found = said_amount(amount, currency)
    if found.minor <= 0:
        raise Invalid("Credit is more than nothing.", param="amount")
    return found


NAMES = {
    Kind.PROMOTIONAL: "Promotional credit",
    Kind.REFUND: "Credit",
    Kind.PURCHASED: "Prepaid credit",
    Kind.COMMITMENT: "Prepaid commitment",
}


def _create(
    organization_id: int,
    *,
    kind: str,
    amount: Money,
    terms: GrantTerms,
    source: str,
    actor: Actor,
    at: datetime,
) -> CreditGrant:
    """Store a grant with its first movement, put it on record and tell it."""
    row = CreditGrant.objects.create(
        **_columns(kind, amount, terms),
        organization_id=organization_id,
        granted_at=at,
        source=source,
        granted_by=actor.id,
    )
    _move(row, CreditMovement.Kind.GRANTED, amount.minor, at)
    row.remaining = amount.minor  # as the movement's trigger has stored it
    after = {"kind": kind, **money(amount.minor, amount.currency)}
    _record(row, "credit.granted", actor, at, after)
    fact = CreditGranted(row.public_id, organization_id)
    outbox.emit(fact, at=at, organization_id=organization_id)
    return row


def _columns(kind: str, amount: Money, terms: GrantTerms) -> dict[str, Any]:
    """Return what a grant says, by column."""
    return {
        "kind": kind,
        "name": terms.name.strip()[:200] or NAMES[Kind(kind)],
        "currency": amount.currency,
        "amount": amount.minor,
        "priority": terms.priority,
        "expires_at": terms.expires_at,
        "line_kinds": sorted(set(terms.line_kinds)),
        "price_keys": sorted(set(terms.price_keys)),
    }


def _move(row: CreditGrant, kind: str, minor: int, at: datetime) -> CreditMovement:
    return CreditMovement.objects.create(
        organization_id=row.organization_id, grant=row, kind=kind, amount=minor, at=at
    )


def keep(
    row: Invoice, minor: int, *, name: str, source: str, actor: Actor, at: datetime
) -> CreditGrant:
    """Keep money that the customer has with us as credit, once a cause; the caller books it."""
    return _create(
        row.organization_id,
        kind=Kind.REFUND,
        amount=Money(minor, row.currency),
        terms=GrantTerms(name=name, priority=0),
        source=source,
        actor=actor,
        at=at,
    )


def hand_over(row: Invoice, *, actor: Actor, at: datetime) -> list[CreditGrant]:
    """Hand over the credit that a paid invoice bought, less what was credited of it meanwhile.

    The issue of the invoice has booked it. The invoice's turn to `paid` is the one cause.
    """
    bought = row.lines.filter(kind=CREDIT_PURCHASE, live=True).exclude(charge=None)
    return [
        _create(
            row.organization_id,
            kind=line.charge.buys["kind"],
            amount=Money(line.amount - line.credited, row.currency),
            terms=_terms_at(line.charge.buys, at),
            source=_source(row.organization_id, line.charge.public_id),
            actor=actor,
            at=at,
        )
        for line in bought.select_related("charge")
        if line.amount > line.credited
    ]


def _terms_at(buys: Mapping[str, Any], at: datetime) -> GrantTerms:
    """Paid too late, the credit is there for the time that it was bought for."""
    terms = GrantTerms.of_dict(buys)
    if terms.expires_at is None or terms.expires_at > at:
        return terms
    lasts = terms.expires_at - datetime.fromisoformat(buys["bought_at"])
    return GrantTerms.of_dict({**buys, "expires_at": (at + lasts).isoformat()})


def _source(organization_id: int, charge: str) -> str:
    """The charge; a further time, after its payment was taken back, the charge and which time."""
    before = CreditGrant.objects.filter(organization_id=organization_id, source__startswith=charge)
    times = before.count()
    return charge if not times else f"{charge}/{times + 1}"


def take_back(row: Invoice, source: str, *, reason: str, actor: Actor, at: datetime) -> bool:
    """Withdraw the untouched credit that came of a payment (or of a purchase); tell whether all of
    it was there. The caller books it.
    """
    grants = CreditGrant.objects.select_for_update().filter(
        organization_id=row.organization_id, source__startswith=source, voided_at=None
    )
    for grant in grants:
        if grant.remaining != grant.amount:
            return False
        _end(grant, CreditMovement.Kind.VOIDED, reason=reason, actor=actor, at=at)
    return True


@transaction.atomic
def void_grant(reference: str, *, reason: str, actor: Actor, at: datetime) -> CreditGrant:
    """Withdraw what is left of a grant. Of credit that money stands behind it becomes revenue.

    Emits CreditEnded. Raises UnknownGrant, also to strangers, Forbidden, CreditSpent, and Invalid
    without a reason.
    """
    row = credit.get_grant(reference, organization_id=actor.organization_id)
    require("manage_invoices", actor=actor, organization_id=row.organization_id)
    if not reason.strip():
        raise Invalid("Say why the credit is withdrawn.", param="reason")
    tenants.lock(row.organization_id)
    row.refresh_from_db()
    if row.voided_at is not None or not row.remaining:
        raise CreditSpent(f"Nothing is left of {row.name} to be withdrawn.")
    moved = _end(row, CreditMovement.Kind.VOIDED, reason=reason, actor=actor, at=at)
    _forfeit(row, moved, "withdrawn")
    tell_low([Spender(row.organization_id, row.currency, row.public_id)], at=at)
    row.refresh_from_db()
    return row


def _end(
    row: CreditGrant, kind: CreditMovement.Kind, *, reason: str, actor: Actor, at: datetime
) -> CreditMovement:
    """Take what is left out of a locked grant, put it on record and tell it."""
    left = row.remaining
    moved = _move(row, kind, -left, at)
    if kind == CreditMovement.Kind.VOIDED:
        row.voided_at, row.void_reason = at, reason.strip()[:200]
        row.save(update_fields=["voided_at", "void_reason"])
    after = {"reason": reason.strip()[:200], **money(left, row.currency)}
    _record(row, f"credit.{kind}", actor, at, after)
    fact = CreditEnded(row.public_id, row.organization_id, left, str(kind))
    outbox.emit(fact, at=at, organization_id=row.organization_id)
    return moved


def _forfeit(row: CreditGrant, moved: CreditMovement, kind: str) -> None:
    """Book what nobody will use any more as revenue; a promotion was never booked."""
    if row.is_funded:
        lost = {CREDIT: -moved.amount, REVENUE: moved.amount}
        book(Movement(row.organization_id, row.currency, moved.public_id, kind, moved.at, lost))


def expire_grants(*, as_of: datetime, actor: Actor, at: datetime) -> int:
    """Take out what is left of grants that have ended by `as_of`; return how many.

    One transaction an organization, so it may be repeated, run twice at once and killed. Those on
    a test clock are left alone. Opens its own scopes.
    """
    with rls.ops_scope("credit: grants that have ended"):
        clocked = tenant_selectors.clocked_organizations()
        ended = CreditGrant.objects.filter(
            expires_at__lte=as_of, remaining__gt=0, voided_at=None
        ).exclude(organization_id__in=clocked)
        waiting = sorted(set(ended.values_list("organization_id", flat=True)))
    return sum(
        expire_grants_of(organization_id, as_of=as_of, actor=actor, at=at)
        for organization_id in waiting
    )


def expire_grants_of(organization_id: int, *, as_of: datetime, actor: Actor, at: datetime) -> int:
    """Do so for one organization, in its scope; return how many."""
    with rls.tenant_scope(organization_id), transaction.atomic():
        tenants.lock(organization_id)
        ended = CreditGrant.objects.select_for_update().filter(
            organization_id=organization_id,
            expires_at__lte=as_of,
            remaining__gt=0,
            voided_at=None,
        )
        rows = list(ended.order_by("id"))
        for row in rows:
            moved = _end(row, CreditMovement.Kind.EXPIRED, reason="expired", actor=actor, at=at)
            _forfeit(row, moved, "expired")
        tell_low([Spender(row.organization_id, row.currency, row.public_id) for row in rows], at=at)
        return len(rows)


def _record(
    row: CreditGrant, action: str, actor: Actor, at: datetime, after: Mapping[str, Any]
) -> None:
    audit.record(
        action=action,
        target=row.public_id,
        actor=actor,
        at=at,
        organization_id=row.organization_id,
        after=after,
    )
