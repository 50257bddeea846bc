from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.test import Client

from apps.core import clock, rls
from apps.engine.prices import Flat
from apps.invoicing import services as invoicing
from apps.invoicing.models import Invoice
from apps.invoicing.services import NewCharge
from apps.plans import services as plans
from apps.plans.catalog import parse_catalog
from apps.plans.offers import CouponRules, PromotionRules
from apps.subscriptions import services as subscriptions
from apps.subscriptions.changes import Behaviour, OverridePrice
from apps.subscriptions.models import Change, Discount, Subscription
from tests.conftest import STAFF
from tests.portal import world
from tests.portal.conftest import signed_in
from tests.portal.test_money_pages import plain, text
from tests.portal.world import Customer, confirmation

CATALOG = """\
currency: USD
applications:
  - {slug: shop, name: Shop}
plans:
  - {code: basic, application: shop, name: Basic, interval: month, prices: [
      {key: base, type: flat, amount: "31.00", name: Base fee},
      {key: seats, type: licensed, model: per_unit, unit_amount: "10.00"}]}
  - {code: pro, application: shop, name: Pro, interval: month, prices: [
      {key: base, type: flat, amount: "62.00", name: Base fee},
      {key: seats, type: licensed, model: per_unit, unit_amount: "10.00"}]}
  - {code: yearly, application: shop, name: Yearly, interval: year, prices: [
      {key: base, type: flat, amount: "300.00", name: Base fee}]}
  - {code: hidden, application: shop, name: Hidden, visibility: private, interval: month, prices: [
      {key: base, type: flat, amount: "1.00"}]}
  - {code: care, kind: add_on, application: shop, name: Care, interval: month, prices: [
      {key: care, type: flat, amount: "6.20", name: Care}]}
"""
NOON = datetime(2023, 12, 16, 12, tzinfo=UTC)  # half of December is left


@pytest.fixture
def shop(db: None) -> Iterator[Customer]:
    """A customer on the basic plan since November, billed for December, at its middle."""
    with rls.ops_scope("test: a shop"):
        plans.load_catalog(parse_catalog(CATALOG, source="shop"), actor=STAFF, at=world.START)
    with clock.frozen(NOON):
        customer = world.make_customer("shopper", plan="basic")
        world.bill(NOON)
        yield customer


@pytest.fixture
def owner(shop: Customer) -> Client:
    return signed_in(shop.owner)


@pytest.fixture
def path(shop: Customer) -> str:
    assert shop.subscription is not None
    return f"/portal/plan/{shop.subscription.public_id}"


def rows(customer: Customer) -> list[Subscription]:
    with rls.tenant_scope(customer.organization.pk):
        return list(Subscription.objects.order_by("id").select_related("plan_version__plan"))


def plan_of(customer: Customer) -> str:
    return rows(customer)[-1].plan_version.plan.code


def test_the_plan_page_leads_to_the_other_plans(owner: Client) -> None:
    page = text(owner, "plan/")
    assert "Change to this plan : Pro" in page
    assert "Add : Care" in page
    assert "Hidden" not in page


def test_an_upgrade_is_quoted_line_by_line_and_billed_as_quoted(
    shop: Customer, owner: Client, path: str
) -> None:
    page = plain(owner.get(f"{path}/change/pro/").content)
    # half of 62.00 less half of 31.00 for December, and 62.00 instead of 31.00 for January
    assert "Next invoice as it is $31.00 Difference +$46.50" in page
    assert "Next invoice with the change $77.50" in page
    assert "Nothing is paid now" in page
    assert plan_of(shop) == "basic"  # the preview has stored nothing
    confirmed = confirmation(owner, f"{path}/change/pro/")
    assert confirmed["quoted_amount"] == "4650"
    assert owner.post(f"{path}/change/pro/", confirmed).status_code == 302
    assert plan_of(shop) == "pro"
    world.bill(datetime(2024, 1, 1, tzinfo=UTC))
    with rls.tenant_scope(shop.organization.pk):
        assert Invoice.objects.order_by("-sequence")[0].total == 77_50


def test_another_interval_is_billed_at_once(shop: Customer, owner: Client, path: str) -> None:
    page = plain(owner.get(f"{path}/change/yearly/").content)
    assert "Billed now" in page
    assert "$284.50 is billed now" in page  # 300.00 less half of 31.00
    answer = owner.post(f"{path}/change/yearly/", confirmation(owner, f"{path}/change/yearly/"))
    assert answer.status_code == 302
    with rls.tenant_scope(shop.organization.pk):
        made = Invoice.objects.order_by("-sequence")[0]
    assert made.total == 284_50
    assert f"Invoice {made.number} is there." in text(owner, "plan/")


def test_a_change_for_the_next_period_waits_and_can_be_called_off(
    shop: Customer, owner: Client, path: str
) -> None:
    address = f"{path}/change/pro/?when=next_period"
    assert "The change waits until 1 Jan 2024" in plain(owner.get(address).content)
    owner.post(f"{path}/change/pro/", confirmation(owner, address))
    assert plan_of(shop) == "basic"
    assert "From 1 Jan 2024: Change to Pro" in text(owner, "plan/")
    with rls.tenant_scope(shop.organization.pk):
        change = Change.objects.get()
    owner.post(f"{path}/scheduled/{change.public_id}/")
    assert "Called off; everything stays as it is." in text(owner, "plan/")
    with rls.tenant_scope(shop.organization.pk):
        assert Change.objects.get().status == "canceled"


def test_what_the_office_scheduled_is_shown_and_stays(
    shop: Customer, owner: Client, path: str
) -> None:
    with rls.tenant_scope(shop.organization.pk):
        subscriptions.change(
            path.rsplit("/", 1)[1],
            wish=OverridePrice("base", Flat(Decimal(40))),
            behaviour=Behaviour.NEXT_PERIOD,
            actor=STAFF,
            at=NOON,
        )
        change = Change.objects.get()
    assert "From 1 Jan 2024: Agreed price: Base fee" in text(owner, "plan/")
    assert "Call off" not in text(owner, "plan/")
    assert owner.post(f"{path}/scheduled/{change.public_id}/").status_code == 404
    with rls.tenant_scope(shop.organization.pk):
        assert Change.objects.get().status == "scheduled"


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"quoted_amount": "1", "quoted_at": NOON.isoformat()},
        {"quoted_amount": "4650", "quoted_at": (NOON - timedelta(hours=2)).isoformat()},
        {"quoted_amount": "4650", "quoted_at": (NOON + timedelta(hours=2)).isoformat()},
        {"quoted_amount": "4650", "quoted_at": "2023-12-16T12:00:00"},
        {"quoted_amount": "many", "quoted_at": NOON.isoformat()},
    ],
    ids=["never seen", "moved", "too old", "to come", "no zone", "no amount"],
)
def test_what_was_not_shown_is_not_carried_out_and_asked_again(
    shop: Customer, owner: Client, path: str, said: dict[str, str]
) -> None:
    answer = owner.post(f"{path}/change/pro/", {"when": "now", **said})
    page = plain(answer.content)
    assert answer.status_code == 409
    assert "Nothing has been changed yet: please look again." in page
    assert 'name="quoted_amount" value="4650"' in answer.content.decode()
    assert plan_of(shop) == "basic"
    with rls.tenant_scope(shop.organization.pk):
        assert not Change.objects.exists()


def test_an_add_on_comes_and_goes(shop: Customer, owner: Client, path: str) -> None:
    owner.post(f"{path}/add/care/", confirmation(owner, f"{path}/add/care/"))
    page = text(owner, "plan/")
    assert "Care Yours" in page
    assert "Remove : Care" in page
    assert owner.get(f"{path}/add/care/").status_code == 404  # it has it
    with clock.frozen(NOON + timedelta(hours=1)):
        owner.post(f"{path}/remove/care/", confirmation(owner, f"{path}/remove/care/"))
        assert "Add : Care" in text(owner, "plan/")


@pytest.mark.parametrize("code", ["hidden", "basic", "care", "nowhere"])
def test_only_other_plans_on_offer_can_be_changed_to(owner: Client, path: str, code: str) -> None:
    assert owner.get(f"{path}/change/{code}/").status_code == 404
    assert owner.post(f"{path}/change/{code}/", {"when": "now"}).status_code == 404


def test_a_strangers_subscription_is_not_found(shop: Customer, path: str) -> None:
    stranger = signed_in(world.make_customer("stranger", plan="basic").owner)
    for page in ("change/pro/", "add/care/", "remove/care/", "seats/seats/", "pause/", "cancel/"):
        assert stranger.get(f"{path}/{page}").status_code == 404
        assert stranger.post(f"{path}/{page}", {"when": "now"}).status_code == 404
    for page in ("code/", "reactivate/", "resume/", "scheduled/chg_1/"):
        assert stranger.post(f"{path}/{page}", {"code": "X"}).status_code == 404


@pytest.mark.parametrize("ended", [False, True], ids=["live", "ended"])
def test_a_strangers_change_is_not_found_whatever_state_ones_own_is_in(
    shop: Customer, owner: Client, path: str, ended: bool
) -> None:
    stranger = world.make_customer("stranger", plan="basic")
    assert stranger.subscription is not None
    theirs = f"/portal/plan/{stranger.subscription.public_id}"
    browser, address = signed_in(stranger.owner), f"{theirs}/change/pro/?when=next_period"
    browser.post(f"{theirs}/change/pro/", confirmation(browser, address))
    with rls.tenant_scope(stranger.organization.pk):
        change = Change.objects.get()
    if ended:
        with rls.tenant_scope(shop.organization.pk):
            subscriptions.cancel(path.rsplit("/", 1)[1], when="now", actor=STAFF, at=NOON)
    for name in (change.public_id, "chg_1"):
        assert owner.post(f"{path}/scheduled/{name}/").status_code == 404
    with rls.tenant_scope(stranger.organization.pk):
        assert Change.objects.get().status == "scheduled"


@pytest.fixture
def codes(shop: Customer) -> None:
    """10 % for good by the word WELCOME; 5.00 once by ONCE, for bills of 100.00 or more."""
    with rls.ops_scope("test: codes"):
        plans.define_coupon(
            CouponRules(code="welcome", name="Welcome", percent=Decimal(10), duration="forever"),
            actor=STAFF,
            at=world.START,
        )
        plans.define_coupon(
            CouponRules(code="once", name="Five off", amounts={"USD": Decimal(5)}),
            actor=STAFF,
            at=world.START,
        )
        for rules in (
            PromotionRules(code="WELCOME", coupon="welcome"),
            PromotionRules(code="ONCE", coupon="once", minimum_amounts={"USD": Decimal(100)}),
        ):
            plans.define_promotion_code(rules, actor=STAFF, at=world.START)


def test_a_promotion_code_counts_and_is_shown(
    shop: Customer, owner: Client, path: str, codes: None
) -> None:
    assert owner.post(f"{path}/code/", {"code": "welcome"}).status_code == 302
    page = text(owner, "plan/")
    assert "Welcome counts from the next invoice on." in page
    assert "Welcome WELCOME for good −10%" in page
    upcoming = text(owner, f"invoices/upcoming/{path.rsplit('/', 1)[1]}/")
    assert "Subtotal $31.00 Welcome -$3.10 Total $27.90" in upcoming


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("NOPE", "There is no promotion code 'NOPE'."),
        ("once", "'Five off' needs a bill of 100.00 USD or more."),
        ("", "This field is required."),
    ],
)
def test_a_code_that_does_not_fit_says_why(
    shop: Customer, owner: Client, path: str, codes: None, code: str, sentence: str
) -> None:
    answer = owner.post(f"{path}/code/", {"code": code})
    assert answer.status_code == 422
    assert sentence in plain(answer.content)
    with rls.tenant_scope(shop.organization.pk):
        assert not Discount.objects.exists()


def test_a_trial_can_be_ended_now_and_a_running_plan_cannot(
    shop: Customer, owner: Client, path: str
) -> None:
    assert not re.search('name="when"', owner.get(f"{path}/cancel/").content.decode())
    owner.post(f"{path}/cancel/", {"reason": "unused", "comment": "", "when": "now"})
    assert rows(shop)[0].status == "active"
    world.load("metered")
    trial = world.make_customer("trialco", plan="")
    client = signed_in(trial.owner)
    client.post("/portal/plan/subscribe/scale/")
    with rls.tenant_scope(trial.organization.pk):
        found = Subscription.objects.get().public_id
    said = {"reason": "unused", "comment": "", "when": "now"}
    client.post(f"/portal/plan/{found}/cancel/", said)
    assert rows(trial)[0].status == "canceled"


def test_an_end_calls_off_what_was_scheduled_for_later(
    shop: Customer, owner: Client, path: str
) -> None:
    address = f"{path}/change/pro/?when=next_period"
    owner.post(f"{path}/change/pro/", confirmation(owner, address))
    page = plain(owner.get(f"{path}/cancel/").content)
    assert "Changes scheduled for later are called off." in page
    owner.post(f"{path}/cancel/", {"reason": "unused", "comment": ""})
    with rls.tenant_scope(shop.organization.pk):
        assert Change.objects.get().status == "canceled"


def test_a_pause_is_scheduled_taken_back_and_comes_into_force(
    shop: Customer, owner: Client, path: str
) -> None:
    owner.post(f"{path}/pause/", {"until": "2024-02-15"})
    page = text(owner, "plan/")
    assert "Pauses on 1 Jan 2024" in page
    assert "From 15 Feb 2024: Resume" in page
    owner.post(f"{path}/resume/")
    assert "The subscription goes on." in text(owner, "plan/")
    assert rows(shop)[0].pause_at is None
    answer = owner.post(f"{path}/pause/", {"until": "2023-12-20"})
    assert answer.status_code == 422
    assert "A pause ends after it begins." in plain(answer.content)
    owner.post(f"{path}/pause/", {"until": ""})
    world.bill(datetime(2024, 1, 1, tzinfo=UTC))
    assert rows(shop)[0].status == "paused"


def test_what_has_ended_can_be_taken_up_again(shop: Customer, owner: Client, path: str) -> None:
    owner.post(f"{path}/cancel/", {"reason": "unused", "comment": ""})
    world.bill(datetime(2024, 1, 1, tzinfo=UTC))
    with clock.frozen(datetime(2024, 2, 1, tzinfo=UTC)):
        assert "Take it up again : Shop · Basic" in text(owner, "plan/")
        owner.post(f"{path}/reactivate/")
        assert [row.status for row in rows(shop)] == ["canceled", "active"]
        assert "Take it up again" not in text(owner, "plan/")


def test_a_single_invoice_says_what_it_is_and_why_it_has_no_xml(
    shop: Customer, owner: Client
) -> None:
    with rls.tenant_scope(shop.organization.pk):
        charge = invoicing.add_charge(
            shop.organization.pk,
            new=NewCharge(name="Set-up", unit_amount=Decimal(99)),
            actor=STAFF,
            at=NOON,
        )
        made = invoicing.invoice_charges([charge.public_id], actor=STAFF, at=NOON)
    assert f"{made.number} Single invoice" in text(owner, "invoices/")
    page = text(owner, f"invoices/{made.number}/")
    assert "Single invoice · " in page
    assert "Why there is no XML (EN 16931)" in page
    assert owner.get(f"/portal/invoices/{made.number}/xml/").status_code == 404
