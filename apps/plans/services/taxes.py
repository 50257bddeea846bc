"""Tax rates: one follows another from a day on; what was taken before stays known."""

from __future__ import annotations

from datetime import date, datetime

from django.db import transaction

from apps.audit import services as audit
from apps.core.actor import Actor, require
from apps.core.errors import Conflict, Invalid
from apps.plans import selectors
from apps.plans.errors import TaxRateStays
from apps.plans.models import TaxRate
from apps.plans.offers import TaxRules
from apps.plans.report import Outcome
from apps.plans.selectors import TaxTerms
from apps.tenants.services import COUNTRIES


@transaction.atomic
def set_tax_rate(rules: TaxRules, *, actor: Actor, at: datetime) -> tuple[TaxTerms, Outcome]:
    """Take this rate from its first day on; the one of the same code before it ends there.

    Repeating it changes nothing but the name, also when later rates follow already. Needs the ops
    scope. Raises TaxRateStays for another rate from the same day on or another place, Conflict for
    a day before the last rate's, and Invalid for no country of ISO 3166.
    """
    require("manage_catalog", actor=actor)
    if rules.country not in COUNTRIES:
        raise Invalid(f"'{rules.country}' is no ISO 3166 country.", param="country")
    rows = list(TaxRate.objects.select_for_update().filter(code=rules.code).order_by("valid_from"))
    same_day = next((row for row in rows if row.valid_from == rules.valid_from), None)
    if same_day is not None:
        return _again(same_day, rules, actor=actor, at=at)
    if rows:
        _end(rows[-1], rules)
    row = TaxRate.objects.create(
        code=rules.code,
        name=rules.name,
        kind=rules.kind,
        percent=rules.percent,
        inclusive=rules.inclusive,
        country=rules.country,
        region=rules.region,
        valid_from=rules.valid_from,
    )
    _record("tax_rate.set", row, rules.as_dict(), actor=actor, at=at)
    outcome = Outcome.NEW_VERSION if rows else Outcome.CREATED
    return selectors.tax_rate(row.public_id), outcome


@transaction.atomic
def retire_tax_rate(
    code: str, *, until: date | None = None, actor: Actor, at: datetime
) -> TaxTerms:
    """Take the rate no more from the day `until` on; without one, withdraw it as a mistake.

    What was billed with it stays. Safe to repeat. Needs the ops scope. Raises UnknownTaxRate, and
    Conflict when it has ended on another day or not yet begun.
    """
    require("manage_catalog", actor=actor)
    row = TaxRate.objects.select_for_update().get(pk=selectors.tax_rate(code).id)
    if until is not None and until != row.valid_until:
        _refuse_end(row, until)
    if (row.valid_until, row.active) != (until or row.valid_until, until is not None):
        row.valid_until, row.active = until or row.valid_until, row.active and until is not None
        row.save(update_fields=["valid_until", "active"])
        after = {"code": row.code, "active": row.active, "valid_until": str(row.valid_until or "")}
        _record("tax_rate.retired", row, after, actor=actor, at=at)
    return selectors.tax_rate(row.public_id)


def _refuse_end(row: TaxRate, until: date) -> None:
    if row.valid_until is not None or until <= row.valid_from:
        ended = f"ended on {row.valid_until}" if row.valid_until else f"begins {row.valid_from}"
        raise Conflict(f"Tax rate '{row.code}' {ended}.", param="until")


def _again(
    row: TaxRate, rules: TaxRules, *, actor: Actor, at: datetime
) -> tuple[TaxTerms, Outcome]:
    known = (row.kind, row.percent, row.inclusive, row.country, row.region)
    if known != (rules.kind, rules.percent, rules.inclusive, rules.country, rules.region):
        raise TaxRateStays(
            f"Tax rate '{row.code}' says something else from {row.valid_from} on and keeps it: "
            "let the new one begin on a later day.",
            param="percent",
        )
    if row.name == rules.name:
        return selectors.tax_rate(row.public_id), Outcome.UNCHANGED
    row.name = rules.name
    row.save(update_fields=["name"])
    _record("tax_rate.renamed", row, {"name": row.name}, actor=actor, at=at)
    return selectors.tax_rate(row.public_id), Outcome.UPDATED


def _end(last: TaxRate, rules: TaxRules) -> None:
    if (last.country, last.region, last.kind) != (rules.country, rules.region, rules.kind):
        raise TaxRateStays(
            f"Tax rate '{last.code}' stays where it is: give the new one a code of its own.",
            param="code",
        )
    reached = last.valid_until or last.valid_from
    if rules.valid_from < reached or rules.valid_from == last.valid_from:
        raise Conflict(
            f"Tax rate '{last.code}' is set from {last.valid_from} on: the next one begins later.",
            param="valid_from",
        )
    if last.valid_until is None:
        last.valid_until = rules.valid_from
        last.save(update_fields=["valid_until"])


def _record(
    action: str, row: TaxRate, after: dict[str, object], *, actor: Actor, at: datetime
) -> None:
    audit.record(action=action, target=row.public_id, actor=actor, at=at, after=after)
