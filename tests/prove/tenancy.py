"""A world with rows of many organizations in every tenant table, and where they are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from psycopg.types.range import TimestamptzRange

from apps.core import clock, idempotency, rls
from apps.core.idempotency import Answer
from apps.entitlements import services as entitlements
from apps.invoicing import services as invoicing
from apps.invoicing.models import Invoice, Parked
from apps.invoicing.services import NewCharge, Split
from apps.licensing import services as licensing
from apps.payments import services as payments
from apps.payments.gateway import Write
from apps.payments.models import ProviderCustomer
from apps.payments.services import calls
from apps.plans import services as plans
from apps.plans.catalog import parse_catalog
from apps.plans.offers import CouponRules, TaxRules
from apps.seats import services as seats
from apps.subscriptions import services as subscriptions
from apps.subscriptions.models import Change, Discount, Subscription
from apps.tenants import selectors as tenant_selectors
from apps.tenants import services as tenants
from apps.tenants.roles import SCOPES
from apps.usage import services as usage
from apps.usage.checking import NewEvent, Refusal, Unread
from apps.usage.devices import NewReport
from apps.usage.doubts import Doubt
from tests.dunning.rows import dunned
from tests.payments.rows import collected
from tests.prove import world
from tests.prove.ground import ask
from tests.prove.world import ACTOR, NOW
from tests.watch.rows import watched

BILLED_UNTIL = datetime(2023, 3, 5, tzinfo=UTC)
PASSWORD = "prove-pass-2026"

OPENING = datetime(2022, 12, 1, tzinfo=UTC)  # before the first customer's first day
ISSUER = {
    "country": "DE",
    "tax_id": "DE136695976",
    "address": "Am Tor 1",
    "city": "Berlin",
    "postcode": "10115",
}
HOME = {"country": "DE", "address": "Ring 2", "city": "Bonn", "postcode": "53111"}
COUPON = CouponRules(code="faithful", name="Faithful", percent=Decimal(10), duration="forever")
VAT = TaxRules(
    code="de-vat",
    name="USt",
    kind="vat",
    percent=Decimal(19),
    country="DE",
    valid_from=date(2020, 1, 1),
)
# What the first subscription, to `desk`, may change to, may have besides, and has besides.
OTHER_PLAN, OFFERED, HELD = "desk-plus", "care", "phone"
MORE = f"""\
currency: USD
features: [{{key: things, kind: limit, meter: things}}]
meters: [{{key: things, event_type: thing, aggregation: count}}]
plans:
  - {{code: {OTHER_PLAN}, application: desk, name: Desk Plus, interval: month, prices: [
      {{key: base, type: flat, amount: "49.00"}}]}}
  - {{code: {OFFERED}, kind: add_on, application: desk, name: Care, interval: month, prices: [
      {{key: care, type: flat, amount: "5.00"}}]}}
  - {{code: {HELD}, kind: add_on, application: desk, name: Phone, interval: month, prices: [
      {{key: phone, type: flat, amount: "7.00"}}]}}
"""

# Tables with an organization in them, but not in a column of that name.
OWN_COLUMN = {"tenants_organization": "id"}
TENANT_TABLES = """
SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE a.attname = 'organization_id' AND NOT a.attisdropped AND c.relkind IN ('r', 'p')
  AND c.relnamespace = 'public'::regnamespace ORDER BY 1"""


@dataclass(frozen=True, slots=True)
class Places:
    """Which table holds which rows of which organization: {table: {organization: [ids]}}."""

    rows: dict[str, dict[int, list[int]]]
    organizations: tuple[int, ...]

    def column(self, table: str) -> str:
        """Return the column that holds the organization's integer id."""
        return OWN_COLUMN.get(table, "organization_id")

    def unprobed(self) -> list[str]:
        """Return the tables that have no foreign rows to leak: a zero would prove nothing."""
        return [table for table, rows in self.rows.items() if len(rows) < 2]


@dataclass(frozen=True, slots=True)
class Person:
    """Who may sign in for an organization, and its API key."""

    user_id: int
    key: str


def build(customers: int, seed: int) -> tuple[Places, dict[int, Person]]:
    """Fill the database with organizations that have something everywhere."""
    with rls.ops_scope("prove: a meter of each kind"):
        usage.define_meter(
            "callers",
            event_type="visit",
            aggregation="unique_count",
            value="who",
            actor=ACTOR,
            at=NOW,
        )
    sold = world.build(customers, seed)
    with rls.ops_scope("prove: more to sell, and taxes"):
        _offer_more()
    people = {}
    for number, organization_id in enumerate(sold.organizations):
        with rls.ops_scope("prove: people and things"):
            people[organization_id] = _person(organization_id, number)
            _things(organization_id, number)
            _at_home(organization_id)
    with rls.ops_scope("prove: count"):
        usage.roll_up(NOW)
    invoicing.bill_due(as_of=BILLED_UNTIL, actor=ACTOR, at=NOW)
    for organization_id in sold.organizations:
        with rls.ops_scope("prove: pay and park"):
            _settle_and_park(organization_id)
            _late(organization_id)
    invoicing.heal_usage(actor=ACTOR, at=NOW, everything=True)
    _let_go()
    return places(), people


def _let_go() -> None:
    """Seal the first month and let its events go, seen from a day when they are old enough."""
    at = clock.now() + timedelta(days=100)
    done = invoicing.prune_usage(before=at - timedelta(days=70), actor=ACTOR, at=at)
    assert all(one.events for one in done), done


def _offer_more() -> None:
    """Define add-ons, another plan, a coupon and VAT, and be an issuer who can write e-invoices."""
    plans.load_catalog(parse_catalog(MORE, source="more.yaml"), actor=ACTOR, at=NOW)
    plans.define_coupon(COUPON, actor=ACTOR, at=OPENING)
    plans.set_tax_rate(VAT, actor=ACTOR, at=OPENING)
    issuer = tenant_selectors.billing_entity("default")
    assert issuer is not None
    tenants.change_billing_entity(issuer.public_id, changes=ISSUER, actor=ACTOR, at=OPENING)


def _person(organization_id: int, number: int) -> Person:
    user = tenants.create_user(
        f"owner-{number}@prove.example", password=PASSWORD, actor=ACTOR, at=NOW
    )
    tenants.add_member(organization_id, user_id=user.pk, role="OWNER", actor=ACTOR, at=NOW)
    key = tenants.create_api_key(
        organization_id, name="prove", scopes=list(SCOPES), actor=ACTOR, at=NOW
    )
    return Person(user.pk, key.secret)


def _things(organization_id: int, number: int) -> None:
    tenants.map_external_id(
        organization_id, application="desk", external_id=f"ext-{number}", actor=ACTOR, at=NOW
    )
    tenants.invite_member(
        organization_id, email=f"guest-{number}@prove.example", role="MEMBER", actor=ACTOR, at=NOW
    )
    visit = NewEvent("prove", "visit", "visit", datetime(2023, 1, 2, tzinfo=UTC), {"who": "me"})
    usage.ingest(organization_id, events=[visit], actor=ACTOR, at=NOW)
    usage.report_devices(organization_id, report=NewReport("plant", 2, 5), actor=ACTOR, at=NOW)
    refused = Unread(Refusal("malformed", "no JSON"), f"scribble {number}")
    usage.reject(organization_id, refused=[refused], actor=ACTOR, at=NOW)
    doubt = Doubt("callers", NOW - timedelta(hours=1), NOW, "a spike")
    usage.doubt_usage(organization_id, source="an_1", doubt=doubt, actor=ACTOR)
    watched(organization_id, meter="callers", actor=ACTOR, at=NOW)
    idempotency.once(
        "one", organization_id=organization_id, owner="prove", route="/", body=b"", act=_answer
    )


def _at_home(organization_id: int) -> None:
    """Live where VAT is due, have a coupon before the first bill, and an add-on."""
    tenants.update_organization(organization_id, changes=HOME, actor=ACTOR, at=NOW)
    first = Subscription.objects.filter(organization_id=organization_id).order_by("id")[0]
    subscriptions.apply_discount(
        organization_id, code=COUPON.code, subscription_id=first.public_id, actor=ACTOR, at=OPENING
    )
    subscriptions.add_item(first.public_id, plan=HELD, actor=ACTOR, at=NOW)
    seats.assign_seat(
        first.public_id, person="guest@prove.example", item="seats", actor=ACTOR, at=NOW
    )
    _limited(organization_id, first.public_id)


def _limited(organization_id: int, subscription: str) -> None:
    """A thing of a hundred is set aside, and spending is bounded."""
    entitlements.override_entitlement(
        subscription, feature="things", value=100, reason="agreed", actor=ACTOR, at=NOW
    )
    entitlements.reserve(organization_id, feature="things", amount=Decimal(1), actor=ACTOR, at=NOW)
    entitlements.set_spend_cap(organization_id, amount=Decimal(10), actor=ACTOR, at=NOW)
    _licensed(organization_id)


def _licensed(organization_id: int) -> None:
    """A licence for one installation, by terms of their own."""
    licensing.set_license_terms(
        organization_id, lifetime_days=30, grace_days=5, bound=True, actor=ACTOR, at=NOW
    )
    licensing.issue_license(
        organization_id, application="desk", instance="plant", actor=ACTOR, at=NOW
    )


def _late(organization_id: int) -> None:
    """Usage of a month that is billed already: a correction."""
    used = {"tokens": 5000, "bytes": 5000}
    late = NewEvent("prove", "late", "call", datetime(2023, 2, 10, tzinfo=UTC), used)
    usage.ingest(organization_id, events=[late], actor=ACTOR, at=NOW)


def _answer() -> Answer:
    return Answer(200, {})


def _settle_and_park(organization_id: int) -> None:
    invoice = Invoice.objects.filter(organization_id=organization_id).order_by("id")[0]
    payments.record_payment(str(invoice.number), amount=Decimal("1.00"), actor=ACTOR, at=NOW)
    _credited(organization_id, str(invoice.number))
    _known_at_the_provider(organization_id)
    collected(organization_id, invoice, actor=ACTOR, at=NOW)
    dunned(organization_id, actor=ACTOR, at=NOW)
    first = Subscription.objects.filter(organization_id=organization_id).order_by("id")[0]
    _changed_and_discounted(organization_id, first.pk)
    Parked.objects.create(
        organization_id=organization_id,
        subscription_id=invoice.subscription_id or 0,
        boundary_at=NOW,
        reason="to be seen by its own organization only",
        parked_at=NOW,
        released_at=NOW,
    )


def _credited(organization_id: int, number: str) -> None:
    """A charge, credit, a note that pays one cent back, and a rule that asks for more credit."""
    charge = NewCharge(name="Setup", unit_amount=Decimal(1))
    invoicing.add_charge(organization_id, new=charge, actor=ACTOR, at=NOW)
    invoicing.grant_credit(organization_id, amount=Decimal("1.00"), actor=ACTOR, at=NOW)
    invoicing.set_recharge(
        organization_id, threshold=Decimal(0), amount=Decimal(1), actor=ACTOR, at=NOW
    )
    note = invoicing.issue_credit_note(
        number,
        reason="other",
        total=Decimal("0.01"),
        split=Split(refund=Decimal("0.01")),
        actor=ACTOR,
        at=NOW,
    )
    payments.record_refund(note.public_id, actor=ACTOR, at=NOW)


def _known_at_the_provider(organization_id: int) -> None:
    """A customer there, and something that waits to be done there."""
    ProviderCustomer.objects.create(
        organization_id=organization_id, provider_id=f"cus_{organization_id}", livemode=False
    )
    calls.enqueue(
        Write.UPDATE_CUSTOMER,
        about=f"prove:{organization_id}",
        params={"name": "Prove"},
        organization_id=organization_id,
        target=f"cus_{organization_id}",
    )


def _changed_and_discounted(organization_id: int, subscription_id: int) -> None:
    """A change that was called off and a discount that counts no more: to be seen, not billed."""
    Change.objects.create(
        organization_id=organization_id,
        subscription_id=subscription_id,
        action="quantity",
        behaviour=Change.Behaviour.NEXT_PERIOD,
        arguments={"quantity": "1", "key": ""},
        effective_at=NOW,
        status=Change.Status.CANCELED,
        requested_by="prove",
        requested_at=NOW,
        settled_at=NOW,
    )
    Discount.objects.create(
        organization_id=organization_id,
        subscription_id=subscription_id,
        coupon="launch",
        terms={"code": "launch", "name": "Launch", "duration": "once", "percent": "10"},
        during=TimestamptzRange(NOW, None, "[)"),
        removed_at=NOW,
    )


def places() -> Places:
    """Look up, as superuser, what the probes must not find."""
    tables = [table for (table,) in ask(TENANT_TABLES)] + list(OWN_COLUMN)
    rows = {table: _rows_of(table) for table in tables}
    return Places(rows, tuple(rows["tenants_organization"]))


def _rows_of(table: str) -> dict[int, list[int]]:
    column = OWN_COLUMN.get(table, "organization_id")
    found = ask(f"""SELECT {column}, (array_agg(id ORDER BY id DESC))[:20] FROM "{table}"
        WHERE {column} IS NOT NULL GROUP BY 1""")
    return dict(found)
