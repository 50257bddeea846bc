"""Everything that changes an organization itself."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime
from typing import Any
from zoneinfo import available_timezones

from django.db import transaction
from django.utils.text import slugify

from apps.audit import services as audit
from apps.core import statements
from apps.core.actor import Actor, require
from apps.core.errors import Conflict, Invalid, NotFound
from apps.core.ids import random_text
from apps.engine.money import UnknownCurrency, exponent
from apps.tenants import selectors, vat
from apps.tenants.errors import PayerRing, SlugTaken
from apps.tenants.models import Application, BillingEntity, Organization
from apps.tenants.services.checks import check_country, check_email, clean_region

SLUG = re.compile(r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
EDITABLE = (
    "name", "legal_name", "email", "address", "city", "postcode", "region", "country", "tax_id",
    "timezone", "locale", "industry", "metadata",
)  # fmt: skip
TERMS = (
    "billing_entity", "tax_exemption", "tax_exemption_reason", "invoice_grouping", "invoice_hold",
    "parent",
)  # fmt: skip
Status = Organization.TaxIdStatus


def lock(organization_id: int) -> Organization:
    """Lock the organization's row: first of the locks (organization, subscription, invoice…)."""
    found = Organization.objects.select_for_update().filter(pk=organization_id).first()
    if found is None:
        raise NotFound("There is no such organization.")
    return found


def free_slug(name: str, *, otherwise: str = "organization") -> str:
    """Return a slug made of a name; where that is taken, with some random letters behind it.

    Needs the ops scope. `otherwise` is for a name without any letter of a slug.
    """
    base = slugify(name)[:50].replace("_", "-").strip("-") or otherwise
    if not Organization.objects.filter(slug=base).exists():
        return base
    return f"{base}-{random_text(6)}"


def hold(organization_id: int) -> None:
    """Keep the organization's row from being locked until the transaction ends; many may do so.

    Who writes rows of an organization under a lock of their own takes this first: keys are checked
    at the commit, which would wait for who holds the organization and waits for that lock.
    """
    statements.hold(Organization, organization_id)


def lock_free(organization_ids: Collection[int]) -> set[int]:
    """Lock those of the organizations that nobody else holds, and return their ids; needs a scope
    that shows them all.
    """
    rows = Organization.objects.select_for_update(skip_locked=True, no_key=True)
    found = rows.filter(pk__among=organization_ids).order_by("pk")
    return set(found.values_list("pk", flat=True))


@transaction.atomic
def create_organization(  # noqa: PLR0913 - an organization has this many facts
    slug: str,
    *,
    name: str,
    actor: Actor,
    at: datetime,
    currency: str = "USD",
    timezone: str = "UTC",
    country: str = "US",
    email: str = "",
    industry: str = "",
    billing_entity: str = "",
    locale: str = "en",
) -> Organization:
    """Create an organization, billed by this issuer (a slug; else the first); needs the ops scope.

    Raises Invalid for a malformed slug, currency, zone or country, SlugTaken, and NotFound for an
    unknown issuer. Not idempotent: the slug guards against doing it twice.
    """
    require("manage_platform", actor=actor)
    if not SLUG.match(slug):
        raise Invalid(
            f"'{slug}' is no slug: use lower-case letters, digits and inner hyphens, 63 at most.",
            param="slug",
        )
    if Organization.objects.filter(slug=slug).exists():
        raise SlugTaken(f"The slug '{slug}' is taken; choose another.", param="slug")
    row = Organization(
        slug=slug,
        name=name.strip(),
        currency=currency.upper(),
        timezone=timezone,
        locale=locale,
        country=country.upper(),
        email=email,
        industry=industry,
        billing_entity=_issuer(billing_entity),
    )
    _check_organization(row)
    row.save(force_insert=True)
    audit.record(
        action="organization.created",
        target=row.public_id,
        actor=actor,
        at=at,
        organization_id=row.pk,
        after={"slug": slug, "currency": row.currency, "timezone": timezone},
    )
    return row


def _issuer(slug: str) -> BillingEntity:
    found = selectors.billing_entity(slug) if slug else BillingEntity.objects.order_by("id").first()
    if found is None:
        raise NotFound(f"There is no billing entity '{slug}'.", param="billing_entity")
    return found


@transaction.atomic
def update_organization(
    organization_id: int, *, changes: dict[str, Any], actor: Actor, at: datetime
) -> Organization:
    """Change descriptive fields (see EDITABLE). A new zone counts from the next subscription on.

    Another tax id or country is judged by its form at once; the worker asks the register later.
    Safe to repeat: what is so already changes nothing. Raises Invalid.
    """
    require("manage_organization", actor=actor, organization_id=organization_id)
    _known_only(changes, EDITABLE)
    row = lock(organization_id)
    if "region" in changes:
        changes = {**changes, "region": clean_region(changes["region"])}
    changed = {key: value for key, value in changes.items() if getattr(row, key) != value}
    if not changed:
        return row
    for key, value in changed.items():
        setattr(row, key, value)
    _check_organization(row)
    judged = judge_tax_id(row, at=at) if {"tax_id", "country"} & set(changed) else []
    row.save(update_fields=[*changed, *judged])
    _record(row, actor, at, changed)
    return row


def judge_tax_id(row: Organization, *, at: datetime) -> list[str]:
    """Set what the tax id's form says of it, unsaved; return the names of the fields."""
    reading = vat.read(row.tax_id, row.country)
    row.tax_id_status = Status.VALID_FORMAT if reading.number else Status.UNCHECKED
    if reading.problem:
        row.tax_id_status = Status.INVALID
    row.tax_id_checked_at = None if row.tax_id_status == Status.UNCHECKED else at
    return ["tax_id_status", "tax_id_checked_at"]


@transaction.atomic
def change_billing_terms(
    organization_id: int, *, changes: dict[str, Any], actor: Actor, at: datetime
) -> Organization:
    """Change how an organization is billed (see TERMS) from the next invoice on; staff decide.

    `billing_entity` is an issuer's slug, `parent` the payer's slug or id, empty for itself. Needs
    the ops scope. Safe to repeat. Raises Invalid, also for an exemption without its reason,
    NotFound, Conflict for a payer of another currency or clock, and PayerRing when an organization
    would end up paying for itself.
    """
    require("manage_terms", actor=actor)
    _known_only(changes, TERMS)
    row = lock(organization_id)
    wanted = {key: _term(row, key, value) for key, value in changes.items()}
    changed = {key: value for key, value in wanted.items() if getattr(row, key) != value}
    if not changed:
        return row
    for key, value in changed.items():
        setattr(row, key, value)
    if {"tax_exemption", "tax_exemption_reason"} & set(changed):
        _check_exemption(row)
    row.save(update_fields=[*changed])
    _record(row, actor, at, changed)
    return row


def _check_exemption(row: Organization) -> None:
    """Refuse an exemption that the invoice could not account for."""
    exempt = row.tax_exemption == Organization.TaxExemption.EXEMPT
    if exempt and not row.tax_exemption_reason:
        raise Invalid(
            "Say why it is exempt: the invoice has to name the reason.",
            param="tax_exemption_reason",
        )


def _term(row: Organization, key: str, value: Any) -> Any:
    """Return a term as it is stored, or raise."""
    if key == "billing_entity":
        return _issuer(value)
    if key == "parent":
        return _payer(row, value) if value else None
    if key == "invoice_hold":
        return bool(value)
    choices = {"tax_exemption": Organization.TaxExemption,
               "invoice_grouping": Organization.InvoiceGrouping}.get(key)  # fmt: skip
    if choices is not None and value not in choices.values:
        raise Invalid(f"{key} is one of {', '.join(choices.values)}.", param=key)
    return value if choices else str(value).strip()[:200]


def _payer(row: Organization, reference: str) -> Organization:
    payer = selectors.find_organization(reference)
    if payer is None:
        raise NotFound(f"There is no organization '{reference}'.", param="parent")
    if row.pk in selectors.payers_above(payer.pk):
        raise PayerRing(f"{row.name} would end up paying for itself.", param="parent")
    if payer.currency != row.currency:
        raise Conflict(
            f"{payer.name} is billed in {payer.currency}, {row.name} in {row.currency}: "
            "payer and organization must share their currency.",
            param="parent",
        )
    if payer.test_clock_id != row.test_clock_id:
        raise Conflict("Payer and organization must live by the same clock.", param="parent")
    return payer


def _known_only(changes: dict[str, Any], known: tuple[str, ...]) -> None:
    unknown = sorted(set(changes) - set(known))
    if unknown:
        raise Invalid(f"'{unknown[0]}' cannot be changed.", param=unknown[0])


def _record(row: Organization, actor: Actor, at: datetime, changed: dict[str, Any]) -> None:
    audit.record(
        action="organization.updated",
        target=row.public_id,
        actor=actor,
        at=at,
        organization_id=row.pk,
        after={"fields": sorted(changed)},
    )


def _check_organization(row: Organization) -> None:
    if not row.name:
        raise Invalid("An organization needs a name.", param="name")
    try:
        exponent(row.currency)
    except UnknownCurrency:
        raise Invalid(f"'{row.currency}' is no ISO 4217 currency.", param="currency") from None
    if row.timezone not in available_timezones():
        raise Invalid(f"'{row.timezone}' is no time zone; see the IANA list.", param="timezone")
    check_country(row.country)
    _check_metadata(row.metadata)
    if row.email:
        check_email(row.email)


def _check_metadata(metadata: object) -> None:
    fine = isinstance(metadata, dict) and len(metadata) <= 50
    if not fine or not all(isinstance(value, str) for value in metadata.values()):  # type: ignore[attr-defined]
        raise Invalid("metadata is an object of at most 50 strings.", param="metadata")


@transaction.atomic
def define_application(
    slug: str, *, name: str, actor: Actor, at: datetime, industry: str = ""
) -> Application:
    """Create the application or bring its name up to date; safe to repeat. Needs the ops scope."""
    require("manage_catalog", actor=actor)
    row = Application.objects.filter(slug=slug).first() or Application(slug=slug)
    wanted = {"name": name, "industry": industry}
    if row.pk is not None and all(getattr(row, key) == value for key, value in wanted.items()):
        return row
    action = "application.created" if row.pk is None else "application.updated"
    row.name, row.industry = name, industry
    row.save()
    audit.record(action=action, target=row.public_id, actor=actor, at=at, after=wanted)
    return row
