"""Everything that changes who issues invoices, and by which rules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction

from apps.audit import services as audit
from apps.core.actor import Actor, require
from apps.core.errors import Invalid, NotFound
from apps.engine.decimals import NotADecimal, decimal_of
from apps.engine.money import UnknownCurrency, exponent
from apps.tenants.models import BillingEntity
from apps.tenants.places import NORTHERN_IRELAND
from apps.tenants.services.checks import COUNTRIES, check_country, check_email, clean_region
from apps.tenants.tax import ONE_STOP_SHOP

EDITABLE_ISSUER = (
    "legal_name", "address", "city", "postcode", "region", "country", "tax_id", "email",
    "invoice_prefix", "credit_note_prefix", "payment_terms_days", "bank_details", "grace_days",
    "tax_rounding", "inclusive_rounding", "tax_registrations", "late_usage", "correction_limits",
    "hold_factor", "max_items_per_day", "max_months_ahead",
)  # fmt: skip
SLUG = re.compile(r"^[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?$")
PREFIX = re.compile(r"^[A-Z0-9][A-Z0-9-]{0,11}$")
CREDIT_NOTE_PREFIX = re.compile(r"^[A-Z0-9][A-Z0-9-]{0,15}$")
BOUNDS = {
    "payment_terms_days": (0, 365, "Payment terms are 0 to 365 days."),
    "grace_days": (0, 90, "Grace is 0 to 90 days."),
    "max_items_per_day": (1, 1_000_000, "Items a day are 1 to 1000000."),
    "max_months_ahead": (1, 120, "Months ahead are 1 to 120."),
}
CHOICES = {
    "tax_rounding": BillingEntity.TaxRounding,
    "inclusive_rounding": BillingEntity.InclusiveRounding,
    "late_usage": BillingEntity.LateUsage,
}
LARGEST_FACTOR = Decimal("999999.99")
LARGEST_LIMIT = 10**15


@transaction.atomic
def define_billing_entity(
    slug: str,
    *,
    legal_name: str,
    invoice_prefix: str,
    actor: Actor,
    at: datetime,
    **options: Any,
) -> BillingEntity:
    """Create an issuer, with number series of its own, or bring it up to date; safe to repeat.

    `options` are fields of EDITABLE_ISSUER. Needs the ops scope. Raises Invalid.
    """
    require("manage_platform", actor=actor)
    wanted = {"legal_name": legal_name, "invoice_prefix": invoice_prefix, **options}
    _lock_all()
    row = BillingEntity.objects.filter(slug=slug).first()
    if row is not None:
        return _change(row, wanted, actor, at)
    if not SLUG.match(slug):
        raise Invalid(f"'{slug}' is no slug: use lower-case letters and hyphens.", param="slug")
    wanted.setdefault("credit_note_prefix", f"{invoice_prefix}-CN")
    row = BillingEntity(slug=slug)
    _set(row, wanted)
    row.save(force_insert=True)
    audit.record(
        action="billing_entity.created",
        target=row.public_id,
        actor=actor,
        at=at,
        after={"slug": slug, "invoice_prefix": invoice_prefix},
    )
    return row


@transaction.atomic
def change_billing_entity(
    entity_id: str, *, changes: dict[str, Any], actor: Actor, at: datetime
) -> BillingEntity:
    """Change what stands on the issuer's invoices from now on, and the rules they follow (see
    EDITABLE_ISSUER); final ones keep what they were issued with. Needs the ops scope.

    Safe to repeat: what is so already changes nothing. Raises Invalid and NotFound.
    """
    require("manage_platform", actor=actor)
    _lock_all()
    row = BillingEntity.objects.filter(public_id=entity_id).first()
    if row is None:
        raise NotFound("There is no such billing entity.")
    return _change(row, changes, actor, at)


def _lock_all() -> None:
    """Let changes of issuers take turns: prefixes are compared across all of them."""
    list(BillingEntity.objects.select_for_update().order_by("id").values_list("pk"))


def _change(
    row: BillingEntity, wanted: dict[str, Any], actor: Actor, at: datetime
) -> BillingEntity:
    before = {key: getattr(row, key) for key in wanted if key in EDITABLE_ISSUER}
    _set(row, wanted)
    changed = sorted(key for key, value in before.items() if getattr(row, key) != value)
    if not changed:
        return row
    row.save(update_fields=changed)
    audit.record(
        action="billing_entity.updated",
        target=row.public_id,
        actor=actor,
        at=at,
        after={"fields": changed},
    )
    return row


def _set(row: BillingEntity, wanted: Mapping[str, Any]) -> None:
    """Set the fields and check the whole, unsaved."""
    unknown = sorted(set(wanted) - set(EDITABLE_ISSUER))
    if unknown:
        raise Invalid(f"'{unknown[0]}' cannot be changed.", param=unknown[0])
    for key, value in wanted.items():
        setattr(row, key, value)
    _check_words(row)
    _check_numbers(row)
    _check_prefixes(row)
    row.tax_registrations = _registrations(row.tax_registrations)
    row.correction_limits = _limits(row.correction_limits)
    row.hold_factor = _factor(row.hold_factor)


def _check_words(row: BillingEntity) -> None:
    row.region = clean_region(row.region)
    if not row.legal_name.strip():
        raise Invalid("An issuer needs a legal name.", param="legal_name")
    if row.country:
        check_country(row.country)
    if row.email:
        check_email(row.email)
    for key, choices in CHOICES.items():
        if getattr(row, key) not in choices.values:
            raise Invalid(f"{key} is one of {', '.join(choices.values)}.", param=key)


def _check_numbers(row: BillingEntity) -> None:
    for key, (least, most, sentence) in BOUNDS.items():
        value = getattr(row, key)
        if type(value) is not int or not least <= value <= most:
            raise Invalid(sentence, param=key)


def _check_prefixes(row: BillingEntity) -> None:
    if not PREFIX.match(row.invoice_prefix):
        raise Invalid(
            "A prefix is 1 to 12 capital letters, digits and hyphens.", param="invoice_prefix"
        )
    if not CREDIT_NOTE_PREFIX.match(row.credit_note_prefix):
        raise Invalid(
            "A prefix is 1 to 16 capital letters, digits and hyphens.", param="credit_note_prefix"
        )
    # Two series with one prefix would give two documents one number.
    others = BillingEntity.objects.exclude(pk=row.pk)
    taken = {one for pair in others.values_list("invoice_prefix", "credit_note_prefix")
             for one in pair}  # fmt: skip
    if row.invoice_prefix in taken:
        raise Invalid("Another issuer has this prefix.", param="invoice_prefix")
    if row.credit_note_prefix in {*taken, row.invoice_prefix}:
        raise Invalid("Another series has this prefix.", param="credit_note_prefix")


def _registrations(given: object) -> dict[str, str]:
    """Return {place: tax id} with places in capitals, or raise."""
    if not isinstance(given, dict) or len(given) > 300:
        raise Invalid("Tax registrations map places to tax ids.", param="tax_registrations")
    found = {str(place).upper(): number for place, number in given.items()}
    for place, number in found.items():
        country, _, region = place.partition("-")
        known = country in COUNTRIES or place in {ONE_STOP_SHOP, NORTHERN_IRELAND}
        if not known or ("-" in place and not region):
            raise Invalid(
                f"'{place}' is no place of registration: use DE, US-CA or EU (One-Stop Shop).",
                param="tax_registrations",
            )
        if not isinstance(number, str) or len(number) > 40:
            raise Invalid(f"The tax id of {place} is no text.", param="tax_registrations")
    return found


def _limits(given: object) -> dict[str, int]:
    """Return {currency: minor units}, or raise."""
    if not isinstance(given, dict):
        raise Invalid("Limits map currencies to minor units.", param="correction_limits")
    for currency, minor in given.items():
        try:
            exponent(currency)
        except UnknownCurrency:
            raise Invalid(
                f"'{currency}' is no ISO 4217 currency.", param="correction_limits"
            ) from None
        if type(minor) is not int or not 0 <= minor <= LARGEST_LIMIT:
            raise Invalid("A limit is a whole number of minor units.", param="correction_limits")
    return given


def _factor(given: object) -> Decimal | None:
    if given is None:
        return None
    sentence = "The factor is 1 to 999999.99 with two decimals, or nothing: no such holds."
    try:
        factor = given if isinstance(given, Decimal) else decimal_of(str(given))
    except NotADecimal:
        raise Invalid(sentence, param="hold_factor") from None
    if not factor.is_finite() or not 1 <= factor <= LARGEST_FACTOR or factor != round(factor, 2):
        raise Invalid(sentence, param="hold_factor")
    return factor
