"""What a register says about tax ids."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction

from apps.audit import services as audit
from apps.core import rls
from apps.core.actor import Actor, require
from apps.core.errors import Conflict
from apps.tenants import gateway, selectors, vat
from apps.tenants.models import Organization
from apps.tenants.services.organizations import judge_tax_id, lock

Status = Organization.TaxIdStatus


@dataclass(frozen=True, slots=True)
class TaxIdChecks:
    """How many tax ids were asked about, by what they are now."""

    by_status: dict[str, int]


@transaction.atomic
def recheck_tax_id(organization_id: int, *, actor: Actor, at: datetime) -> Organization:
    """Judge the tax id by its form again, so that the worker asks the register anew."""
    require("manage_organization", actor=actor, organization_id=organization_id)
    row = lock(organization_id)
    before = row.tax_id_status
    row.save(update_fields=judge_tax_id(row, at=at))
    _record(row, before, actor, at)
    return row


def verify_tax_id(organization_id: int, *, actor: Actor, at: datetime) -> Organization:
    """Ask the register about the organization's tax id now; returns the row as it is afterwards.

    Opens scopes of its own and runs outside any transaction: a slow register holds no lock. While
    the register is off, and for ids that it does not keep, the form decides alone. Raises Conflict
    when somebody changes the id meanwhile.
    """
    require("manage_platform", actor=actor)
    _outside_transactions()
    register = gateway.register()
    with rls.ops_scope("verify_tax_id: read"):
        row = recheck_tax_id(organization_id, actor=actor, at=at)
    number = _number(row)
    if number is None or register is None:
        return row
    return _note(row, register.ask(number), actor, at)


def verify_tax_ids(*, actor: Actor, at: datetime, limit: int = 100) -> TaxIdChecks:
    """Ask the register about every tax id that is due (see `selectors.tax_ids_to_verify`).

    Does nothing while the register is off. Outside any transaction, as `verify_tax_id` is.
    """
    require("manage_platform", actor=actor)
    _outside_transactions()
    register, found = gateway.register(), Counter[str]()
    if register is None:
        return TaxIdChecks({})
    with rls.ops_scope("verify_tax_ids: read"):
        due = selectors.tax_ids_to_verify(at, limit=limit)
    for row in due:
        number = _number(row)
        if number is not None:
            found[_verdict(row, register.ask(number), actor, at)] += 1
    return TaxIdChecks(dict(found))


def _verdict(asked: Organization, status: Status, actor: Actor, at: datetime) -> str:
    try:
        return _note(asked, status, actor, at).tax_id_status
    except Conflict:  # the new id has its own turn
        return Status.UNCHECKED


def _outside_transactions() -> None:
    if connection.in_atomic_block:
        raise RuntimeError("a register is asked outside transactions only")


def _number(row: Organization) -> vat.TaxNumber | None:
    number = vat.read(row.tax_id, row.country).number
    return number if number is not None and number.in_vies else None


def _note(asked: Organization, status: Status, actor: Actor, at: datetime) -> Organization:
    """Keep the answer, unless the tax id was changed meanwhile: then it is about another one."""
    with rls.ops_scope("tax ids: note the answer"):
        row = lock(asked.pk)
        if (row.tax_id, row.country) != (asked.tax_id, asked.country):
            raise Conflict(f"The tax id of {row.name} was changed meanwhile; check it again.")
        before, row.tax_id_status, row.tax_id_checked_at = row.tax_id_status, status, at
        row.save(update_fields=["tax_id_status", "tax_id_checked_at"])
        _record(row, before, actor, at)
        return row


def _record(row: Organization, before: str, actor: Actor, at: datetime) -> None:
    if row.tax_id_status == before:
        return
    audit.record(
        action="organization.tax_id_checked",
        target=row.public_id,
        actor=actor,
        at=at,
        organization_id=row.pk,
        before={"status": before},
        after={"status": row.tax_id_status},
    )
