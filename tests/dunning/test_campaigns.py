"""Campaigns: how they are written, whom they are for, and what they refuse."""

from __future__ import annotations

import pytest

from apps.core import rls
from apps.core.actor import Actor
from apps.core.errors import DomainError, Forbidden, Invalid
from apps.dunning import selectors, services, writing
from apps.dunning.errors import CampaignsClash, UnknownCampaign
from apps.dunning.models import CampaignVersion
from apps.engine.dunning import Action, Cause, Step
from apps.invoicing import selectors as invoicing
from apps.plans.errors import UnknownPlan
from apps.tenants import roles
from apps.tenants.models import Organization
from tests.conftest import STAFF
from tests.dunning import world
from tests.dunning.world import billed, run, the_run
from tests.invoicing.world import day

STEPS = "1d remind final\n8d unpaid"


# --- how they are written -------------------------------------------------------------------------
def test_steps_are_read_as_they_are_written() -> None:
    text = "-3d remind reminder if overdue\n0 remind urgent if failed\n4h past_due\n14d+2h unpaid"
    steps = writing.parse_steps(text)
    assert steps == (
        Step(-3, 0, Action.REMIND, "reminder", Cause.OVERDUE),
        Step(0, 0, Action.REMIND, "urgent", Cause.FAILED),
        Step(0, 4, Action.PAST_DUE),
        Step(14, 2, Action.UNPAID),
    )
    assert writing.write_steps(steps) == text
    assert writing.read_steps(writing.kept(steps)) == steps


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "A campaign has 1 to 40 steps."),
        ("soon remind final", "Line 1: 'soon' is no time; write -3d, 0, 4h or 14d+2h."),
        ("1d\n", "Line 1: '' is none of remind, "),
        ("\n1d sue", "Line 2: 'sue' is none of remind, "),
        ("1d remind", "Step 1: a reminder is one of reminder, urgent, final."),
        ("1d remind angry", "Step 1: a reminder is one of reminder, urgent, final."),
        ("1d remind final now", "Line 1: 'now' is too much; write one thing a line."),
        ("1d remind final if angry", "Line 1: a step is for all runs, "),
        ("1d remind final\n2d unpaid soon", "Step 2: 'unpaid' takes nothing more."),
        ("1d remind final\n2d downgrade", "Step 2: say to which plan, by its code."),
        ("-1d past_due", "Step 1: before the due date there are reminders only."),
        ("400d past_due", "Step 1: at most 365 days either way, and 23 hours."),
        ("3d past_due\n1d remind final", "Step 2 comes before the one ahead of it: "),
        ("1d unpaid", "Step 1: tell the customer by a reminder before it."),
        ("1d remind final if failed\n2d unpaid", "Step 2: tell the customer by a reminder"),
        ("1d remind final\n2d cancel\n3d downgrade free", "Step 3: a run cancels or downgrades"),
        ("1d remind final\n2d cancel\n3d unpaid", "Step 3: nothing is left to take after step 2."),
        ("1d remind final if failed", "Say at least one step for runs that began because of "),
    ],
)
def test_what_makes_no_campaign_is_refused_with_the_line_at_fault(text: str, said: str) -> None:
    with pytest.raises(Invalid) as refusal:
        writing.parse_steps(text)
    assert refusal.value.message.startswith(said)
    assert refusal.value.param == "steps"


# --- whom they are for ----------------------------------------------------------------------------
@pytest.fixture
def acme(db: None) -> Organization:
    world.open_shop()
    return billed()[0]


def define(name: str, **whom: object) -> None:
    with rls.ops_scope("test: a campaign"):
        services.define_campaign(name, steps=STEPS, actor=STAFF, at=day(1, 1), **whom)  # type: ignore[arg-type]


def chosen(row: Organization) -> str:
    with rls.tenant_scope(row.pk):
        return selectors.version_for(invoicing.latest(row.pk)).name


def test_the_most_specific_campaign_is_chosen(acme: Organization) -> None:
    assert chosen(acme) == "Standard"
    define("Of the issuer", billing_entity="default")
    assert chosen(acme) == "Of the issuer"
    define("Of basic", plans=["basic"])
    assert chosen(acme) == "Of basic"
    define("Of basic by the issuer", plans=["basic"], billing_entity="default")
    assert chosen(acme) == "Of basic by the issuer"
    define("Of acme", organizations=["acme"])
    assert chosen(acme) == "Of acme"
    define("Of others", plans=["pro"], organizations=["acme"])
    assert chosen(acme) == "Of acme"


def test_one_that_ended_begins_no_runs_and_those_under_way_go_on(acme: Organization) -> None:
    define("Of acme", organizations=["acme"])
    run(day(1, 15, 1))
    with rls.ops_scope("test"):
        services.end_campaign("Of acme", actor=STAFF, at=day(1, 15))
    assert chosen(acme) == "Standard"
    run(day(1, 24, 9))
    assert the_run(acme).version.name == "Of acme"


def test_two_for_the_same_are_refused(acme: Organization) -> None:
    define("Of two", plans=["basic", "pro"])
    define("Of another", plans=["yearly"])
    for whom in ({"plans": ["pro"]}, {}):
        with pytest.raises(CampaignsClash):
            define("Again", **whom)
    with rls.ops_scope("test"):
        assert {one.name for one in selectors.campaigns()} == {"Of another", "Of two", "Standard"}


@pytest.mark.parametrize(
    ("whom", "error"),
    [
        ({"plans": ["nothing"]}, UnknownPlan),
        ({"organizations": ["nobody"]}, DomainError),
        ({"billing_entity": "nobody"}, Invalid),
        ({"plans": ["pro"], "hour": 24}, Invalid),
    ],
)
def test_nobody_is_asked_in_the_name_of_what_there_is_not(
    acme: Organization, whom: dict[str, object], error: type[DomainError]
) -> None:
    with pytest.raises(error):
        define("Of nothing", **whom)
    with pytest.raises(UnknownPlan), rls.ops_scope("test"):
        services.define_campaign(
            "Down", steps="1d remind final\n2d downgrade nothing", plans=["pro"],
            actor=STAFF, at=day(1, 1),
        )  # fmt: skip


def test_the_default_stays_the_default(acme: Organization) -> None:
    with rls.ops_scope("test"):
        with pytest.raises(Invalid):
            services.end_campaign("Standard", actor=STAFF, at=day(1, 1))
        with pytest.raises(Invalid):
            services.change_campaign(
                "Standard", steps=STEPS, plans=["pro"], actor=STAFF, at=day(1, 1)
            )
        with pytest.raises(UnknownCampaign):
            services.change_campaign("Nothing", steps=STEPS, actor=STAFF, at=day(1, 1))


def test_other_steps_are_another_version_and_the_same_ones_are_not(acme: Organization) -> None:
    with rls.ops_scope("test"):
        before = CampaignVersion.objects.count()
        for _ in range(2):
            services.change_campaign("Standard", steps=STEPS, actor=STAFF, at=day(1, 2))
        assert CampaignVersion.objects.count() == before + 1
        assert selectors.current(selectors.get_campaign("Standard")).schedule[1].takes


def test_only_finance_and_admins_write_campaigns(acme: Organization) -> None:
    held = roles.capabilities_of_staff(["Support"])
    support = Actor("staff", "usr_1", "Support", None, held)
    with rls.ops_scope("test"), pytest.raises(Forbidden):
        services.end_campaign("Standard", actor=support, at=day(1, 1))
