"""Campaigns as staff write them: whom for, and which steps. A change of steps is a new version."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from django.db import transaction

from apps.audit import services as audit
from apps.core.actor import Actor, require
from apps.core.errors import Invalid
from apps.dunning import selectors, writing
from apps.dunning.errors import CampaignsClash
from apps.dunning.models import Campaign, CampaignVersion
from apps.engine.dunning import Action, Step
from apps.plans import selectors as plans_sold
from apps.tenants import selectors as tenants


@transaction.atomic
def define_campaign(
    name: str,
    *,
    steps: str,
    actor: Actor,
    at: datetime,
    hour: int = 9,
    organizations: Collection[str] = (),
    plans: Collection[str] = (),
    billing_entity: str = "",
) -> Campaign:
    """Define a campaign for organizations (slugs or ids), plans (codes), an issuer, or all of what
    is not said. `steps` are written as in `writing`, at the local `hour`.

    Needs the ops scope. Raises Invalid with what is wrong, UnknownPlan, NotFound, and
    CampaignsClash when another one is for the same and no less specific.
    """
    require("manage_invoices", actor=actor)
    _lock()
    row = Campaign(name=_named(name, None), set_at=at)
    _say_whom(row, organizations, plans, billing_entity)
    _refuse_clash(row)
    read = _checked(steps, hour)
    row.save(force_insert=True)
    _add_version(row, read, hour, actor=actor, at=at)
    _record(row, "defined", actor, at)
    return row


@transaction.atomic
def change_campaign(  # noqa: PLR0913 - whom for, when, what, by whom
    reference: str,
    *,
    steps: str,
    actor: Actor,
    at: datetime,
    hour: int = 9,
    name: str = "",
    organizations: Collection[str] = (),
    plans: Collection[str] = (),
    billing_entity: str = "",
) -> Campaign:
    """Change a campaign (its public id or name) to be this from now on. Other steps or another hour
    are a new version: runs under way keep the one that they began with. Safe to repeat.

    Needs the ops scope. The default stays the default. Raises as `define_campaign` does, and
    UnknownCampaign.
    """
    require("manage_invoices", actor=actor)
    _lock()
    row = selectors.get_campaign(reference)
    if row.ended_at is not None:
        raise Invalid("This campaign has ended; define another one.", param="campaign")
    was_default = row.is_default
    row.name = _named(name or row.name, row)
    _say_whom(row, organizations, plans, billing_entity)
    if was_default and not row.is_default:
        raise Invalid("The default is for everybody of whom no other campaign is.", param="plans")
    _refuse_clash(row)
    read = _checked(steps, hour)
    row.save(update_fields=["name", "organizations", "plans", "billing_entity"])
    now = selectors.current(row)
    if (now.schedule, now.hour, now.name) != (read, hour, row.name):
        _add_version(row, read, hour, actor=actor, at=at)
    _record(row, "changed", actor, at)
    return row


@transaction.atomic
def end_campaign(reference: str, *, actor: Actor, at: datetime) -> Campaign:
    """Begin no more runs of a campaign (its public id or name); those under way go on. Safe to
    repeat. Needs the ops scope. Raises UnknownCampaign, and Invalid for the default.
    """
    require("manage_invoices", actor=actor)
    _lock()
    row = selectors.get_campaign(reference)
    if row.is_default:
        raise Invalid("The default campaign stays; change its steps instead.", param="campaign")
    if row.ended_at is None:
        row.ended_at = at
        row.save(update_fields=["ended_at"])
        _record(row, "ended", actor, at)
    return row


def _lock() -> None:
    """Let one at a time say whom campaigns are for: two at once could both be for the same."""
    list(Campaign.objects.select_for_update().order_by("pk").values_list("pk")[:1])


def _named(name: str, row: Campaign | None) -> str:
    said = " ".join(name.split())[:100]
    if not said:
        raise Invalid("A campaign needs a name.", param="name")
    others = selectors.campaigns().filter(name=said)
    if (others.exclude(pk=row.pk) if row else others).exists():
        raise Invalid(f"There is a campaign '{said}' already.", param="name")
    return said


def _say_whom(
    row: Campaign, organizations: Collection[str], plans: Collection[str], billing_entity: str
) -> None:
    found = [tenants.get_organization(one).public_id for one in organizations]
    row.organizations = sorted(set(found))
    row.plans = sorted({plans_sold.current_version(code).plan_code for code in plans})
    issuer = tenants.billing_entity(billing_entity) if billing_entity else None
    if billing_entity and issuer is None:
        raise Invalid(f"There is no issuer '{billing_entity}'.", param="billing_entity")
    row.billing_entity = issuer


def _refuse_clash(row: Campaign) -> None:
    for other in selectors.campaigns().exclude(pk=row.pk):
        if other.rank == row.rank and _overlap(row, other):
            raise CampaignsClash(
                f"'{other}' is for the same already: say more precisely whom this one is for.",
                param="organizations",
            )


def _overlap(one: Campaign, other: Campaign) -> bool:
    """Whether one invoice could be both's, of two that are as specific and say the same kinds."""
    pairs = ((one.organizations, other.organizations), (one.plans, other.plans))
    return one.billing_entity_id == other.billing_entity_id and all(
        not (a or b) or set(a) & set(b) for a, b in pairs
    )


def _checked(text: str, hour: int) -> Sequence[Step]:
    if not 0 <= hour <= 23:
        raise Invalid("An hour of the day is from 0 to 23.", param="hour")
    read = writing.parse_steps(text)
    for step in read:
        if step.action is Action.DOWNGRADE:
            plans_sold.current_version(step.argument)
    return read


def _add_version(
    row: Campaign, steps: Sequence[Step], hour: int, *, actor: Actor, at: datetime
) -> None:
    CampaignVersion.objects.create(
        campaign=row,
        number=row.versions.count() + 1,
        name=row.name,
        hour=hour,
        steps=writing.kept(steps),
        set_at=at,
        set_by=actor.id,
    )


def _record(row: Campaign, what: str, actor: Actor, at: datetime) -> None:
    version = selectors.current(row)
    after = {
        "name": row.name,
        "organizations": row.organizations,
        "plans": row.plans,
        "hour": version.hour,
        "steps": writing.write_steps(version.schedule),
        "version": version.number,
    }
    audit.record(
        action=f"dunning_campaign.{what}", target=row.public_id, actor=actor, at=at, after=after
    )
